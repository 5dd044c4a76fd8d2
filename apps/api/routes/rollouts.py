"""Administration of staged rollouts: what people do; the controller does the rest."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.admission import caller_of
from apps.api.bodies import read_json, whole_body
from apps.api.operation import operation, request_body
from apps.api.rollout_ports import RolloutAct, Rollouts
from apps.api.schemas.rollouts import (
    FlagName,
    RolloutBody,
    RolloutDetails,
    RolloutDraft,
    RolloutReply,
    RolloutsReply,
    RolloutStart,
    RolloutStep,
    RolloutWord,
    StoppedReply,
)
from apps.api.services import services_of

READ, WRITE = "flags:read", "flags:write"
ROOT = "/api/v1/admin/rollouts"
RolloutId = Annotated[str, Path(min_length=1, max_length=64)]
Model = TypeVar("Model", bound=BaseModel)
LADDERS: dict[str, object] = {
    "the default ladder": {"flag_key": "debate_mode", "reason": "quarter goal 3"},
    "two weeks": {"flag_key": "debate_mode", "policy": {"preset": "weekly"}},
    "by session": {
        "flag_key": "debate_mode",
        "stages": [10, 50, 100],
        "bucket_by": ["session_id"],
        "policy": {"auto_promote": False},
    },
}
STARTS: dict[str, object] = {
    "start": {"reason": "review of 3 March"},
    "again, with other people": {"reason": "fixed", "force": True, "salt": "s2"},
}
STEPS: dict[str, object] = {"next": {}, "by hand": {"to_stage": 2, "force": True, "reason": "demo"}}
WORDS: dict[str, object] = {"why": {"reason": "the node is slow"}, "nothing": {}}
router = APIRouter(tags=["rollouts"])


def move(
    summary: str,
    body: type[BaseModel],
    examples: dict[str, object],
    *,
    reply: type[BaseModel] = RolloutReply,
    status: int = 200,
) -> dict[str, Any]:
    """How the page shows a move by a person, whose body may be left out."""
    words = {**request_body(body, examples), "required": False}
    return operation(
        WRITE,
        summary,
        body=body,
        reply=reply,
        status=status,
        errors=(404, 409, 412),
        extra={"requestBody": words},
    )


@router.post(
    ROOT,
    **operation(
        WRITE, "Make a rollout", body=RolloutBody, reply=RolloutDraft, status=201, examples=LADDERS
    ),
)
async def create(request: Request) -> Response:
    """A draft, with a forecast from the traffic of the last seven days."""
    body = await read_json(request, RolloutBody)
    made = await (await _rollouts(request)).create(
        body.model_dump(exclude={"reason"}), act=act_of(request, body.reason)
    )
    return render.json_response(shown(made), status=201)


@router.get(ROOT, **operation(READ, "The newest rollouts", reply=RolloutsReply, errors=(422,)))
async def rollouts(
    request: Request,
    flag: Annotated[FlagName | None, Query(description="Only of this flag.")] = None,
) -> Response:
    """At most a hundred, without their evidence."""
    found = await (await _rollouts(request)).every(flag_key=flag)
    return render.json_response({"rollouts": [shown(each) for each in found]})


@router.get(
    f"{ROOT}/{{rollout_id}}",
    **operation(READ, "One rollout", reply=RolloutDetails, errors=(404, 422)),
)
async def rollout(request: Request, rollout_id: RolloutId) -> Response:
    """With arms, evidence, what blocks the next step, and what happens next."""
    return render.json_response(shown(await (await _rollouts(request)).get(rollout_id)))


@router.post(f"{ROOT}/{{rollout_id}}/start", **move("Start a rollout", RolloutStart, STARTS))
async def start(request: Request, rollout_id: RolloutId) -> Response:
    """At its first stage, with a new epoch and empty counters."""
    body = await optional_body(request, RolloutStart)
    act = act_of(request, body.reason)
    moved = await (await _rollouts(request)).start(
        rollout_id, act=act, force=body.force, salt=body.salt
    )
    return render.json_response(shown(moved))


@router.post(f"{ROOT}/{{rollout_id}}/pause", **move("Pause a rollout", RolloutWord, WORDS))
async def pause(request: Request, rollout_id: RolloutId) -> Response:
    """Whoever has the flag keeps it; nothing moves until somebody resumes."""
    body = await optional_body(request, RolloutWord)
    moved = await (await _rollouts(request)).pause(rollout_id, act=act_of(request, body.reason))
    return render.json_response(shown(moved))


@router.post(f"{ROOT}/{{rollout_id}}/resume", **move("Resume a rollout", RolloutWord, WORDS))
async def resume(request: Request, rollout_id: RolloutId) -> Response:
    """The reason of the hold is overruled for this stage."""
    body = await optional_body(request, RolloutWord)
    moved = await (await _rollouts(request)).resume(rollout_id, act=act_of(request, body.reason))
    return render.json_response(shown(moved))


@router.post(f"{ROOT}/{{rollout_id}}/promote", **move("Take the next step", RolloutStep, STEPS))
async def promote(request: Request, rollout_id: RolloutId) -> Response:
    """409 with `blockers` unless nothing is missing or `force` is said."""
    body = await optional_body(request, RolloutStep)
    act = act_of(request, body.reason)
    moved = await (await _rollouts(request)).promote(
        rollout_id, act=act, to_stage=body.to_stage, force=body.force
    )
    return render.json_response(shown(moved))


@router.post(
    f"{ROOT}/{{rollout_id}}/rollback",
    **move("Take the flag from everybody", RolloutWord, WORDS, reply=StoppedReply),
)
async def roll_back(
    request: Request,
    rollout_id: RolloutId,
    wait: Annotated[
        bool, Query(description="Until the workers have switched, 2 s at most.")
    ] = False,
) -> Response:
    """It stays so until a person starts it again; with `wait` it tells which workers know."""
    body = await optional_body(request, RolloutWord)
    moved = await (await _rollouts(request)).roll_back(
        rollout_id, act=act_of(request, body.reason), wait=wait
    )
    return render.json_response(shown(moved), status=202 if moved.get("missing") else 200)


@router.post(
    f"{ROOT}/{{rollout_id}}/trigger",
    **move("Have the controller roll back", RolloutWord, WORDS, status=202),
)
async def trigger(request: Request, rollout_id: RolloutId) -> Response:
    """For alarms and runbooks: by the rollout's id or its flag's key, with the evidence so far.

    Whoever leads does it within a second or two; `rollback` does it now, and by its id only.
    """
    body = await optional_body(request, RolloutWord)
    asked = await (await _rollouts(request)).trigger(rollout_id, act=act_of(request, body.reason))
    return render.json_response(shown(asked), status=202)


async def _rollouts(request: Request) -> Rollouts:
    return (await services_of(request).stores.get()).rollouts


async def optional_body(request: Request, model: type[Model]) -> Model:
    """The body, which may be absent."""
    return await read_json(request, model) if await whole_body(request) else model()


def act_of(request: Request, reason: str) -> RolloutAct:
    """Who asks, and why."""
    key_id = caller_of(request).key_id
    return RolloutAct(f"key:{key_id}" if key_id else "local", reason)


def shown(told: dict[str, Any]) -> dict[str, Any]:
    """Moments as the rest of the interface writes them."""
    return {
        name: render.timestamp(value)
        if (name == "at" or name.endswith("_at")) and isinstance(value, int | float)
        else value
        for name, value in told.items()
    }
