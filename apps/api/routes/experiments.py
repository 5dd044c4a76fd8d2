"""Administration of experiments: variants side by side, begun and ended by people."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.bodies import read_json
from apps.api.operation import operation
from apps.api.rollout_ports import Experiments
from apps.api.routes.rollouts import (
    READ,
    WORDS,
    WRITE,
    RolloutId,
    act_of,
    move,
    optional_body,
    shown,
)
from apps.api.schemas.experiments import (
    ExperimentBody,
    ExperimentReply,
    ExperimentResult,
    ExperimentsReply,
)
from apps.api.schemas.rollouts import RolloutWord
from apps.api.services import services_of

ROOT = "/api/v1/admin/experiments"
EXAMPLES: dict[str, object] = {
    "half and half": {"flag_key": "debate_mode", "arms": {"on": 1, "off": 1}},
    "a tenth of the users": {
        "flag_key": "debate_mode",
        "arms": {"on": 50, "off": 50},
        "percent": 10,
        "bucket_by": ["user_id"],
        "primary": "quality",
        "guardrails": ["error", "slow"],
        "reason": "does it pay?",
    },
}
router = APIRouter(tags=["experiments"])
MOVED = partial(move, body=RolloutWord, examples=WORDS, reply=ExperimentReply)


@router.post(
    ROOT,
    **operation(
        WRITE,
        "Make an experiment",
        body=ExperimentBody,
        reply=ExperimentReply,
        status=201,
        examples=EXAMPLES,
    ),
)
async def create(request: Request) -> Response:
    """A draft; it changes nothing until it is started."""
    body = await read_json(request, ExperimentBody)
    made = await (await _experiments(request)).create(
        body.model_dump(exclude={"reason"}), act=act_of(request, body.reason)
    )
    return render.json_response(shown(made), status=201)


@router.get(ROOT, **operation(READ, "The newest experiments", reply=ExperimentsReply))
async def experiments(request: Request) -> Response:
    """At most a hundred, without their results."""
    found = await (await _experiments(request)).every()
    return render.json_response({"experiments": [shown(each) for each in found]})


@router.get(
    f"{ROOT}/{{experiment_id}}",
    **operation(READ, "The result of an experiment", reply=ExperimentResult, errors=(404, 422)),
)
async def experiment(request: Request, experiment_id: RolloutId) -> Response:
    """Each arm, and each variant against the reference, valid at every look."""
    return render.json_response(shown(await (await _experiments(request)).get(experiment_id)))


@router.post(f"{ROOT}/{{experiment_id}}/start", **MOVED("Start an experiment"))
async def start(request: Request, experiment_id: RolloutId) -> Response:
    """With a new epoch and empty counters."""
    body = await optional_body(request, RolloutWord)
    act = act_of(request, body.reason)
    return render.json_response(
        shown(await (await _experiments(request)).start(experiment_id, act=act))
    )


@router.post(f"{ROOT}/{{experiment_id}}/stop", **MOVED("Stop an experiment"))
async def stop(request: Request, experiment_id: RolloutId) -> Response:
    """Everybody has what they had before; the result stays."""
    body = await optional_body(request, RolloutWord)
    act = act_of(request, body.reason)
    return render.json_response(
        shown(await (await _experiments(request)).stop(experiment_id, act=act))
    )


async def _experiments(request: Request) -> Experiments:
    return (await services_of(request).stores.get()).experiments
