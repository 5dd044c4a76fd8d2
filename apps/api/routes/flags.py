"""Administration of flags: seen, explained, changed and killed; valid on the next request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render, render_flags
from apps.api.bodies import read_json
from apps.api.flag_desk import (
    READ,
    ROOT,
    WRITE,
    FlagKey,
    IfMatch,
    Wait,
    admin_of,
    reason_of,
    seen_version,
    told,
    waited,
    wish_of,
)
from apps.api.operation import operation, request_body
from apps.api.schemas.flags import (
    ChangedReply,
    EvaluateBody,
    EvaluateReply,
    EvaluationContext,
    ExplainReply,
    FlagDetails,
    FlagPatch,
    FlagPut,
    FlagsReply,
    KillReply,
    ReasonBody,
)
from apps.api.services import services_of
from apps.core.errors import BadDefinition, Unprocessable, VersionConflict, VersionNeeded
from apps.core.flags.context import FlagContext, foreign_context
from apps.core.flags.edits import MEMBERS, Edit

SHOWN_CHARS = 1000
ATTRIBUTE = "attr."
SWITCH = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
PUTS = {"new": {"definition": SWITCH, "owner": "answers", "expires_at": "2027-03-31"}}
PATCHES: dict[str, Any] = {
    "on": {"on": True, "reason": "a quiet week"},
    "a share": {"percent": 12.5},
    "rules": {"targeting": {"if": [{"in": [{"var": "tenant"}, ["pilot"]]}, "on"]}},
}
REASONS = {"why": {"reason": "too many timeouts"}, "nothing": {}}
CONTEXTS = {"a user": {"context": {"targetingKey": "user-1", "tenant": "pilot", "locale": "ko"}}}
# The version of a flag that SQL does not hold.
NOTHING_STORED = 0
router = APIRouter(tags=["flags"])


def _switch(summary: str, *errors: int) -> dict[str, Any]:
    body = {**request_body(ReasonBody, REASONS), "required": False}
    return operation(
        WRITE,
        summary,
        reply=KillReply,
        body=ReasonBody,
        errors=errors,
        extra={"requestBody": body},
    )


@router.get(ROOT, **operation(READ, "All flags", reply=FlagsReply, errors=(422,)))
async def flags(
    request: Request,
    stale: Annotated[bool | None, Query(description="Whether the expiry date is over.")] = None,
    q: Annotated[str, Query(max_length=100, description="A part of key or owner.")] = "",
) -> Response:
    """What code, SQL, environment and rollouts say of each."""
    version, found = await (await admin_of(request)).all()
    shown = [
        render_flags.flag(view)
        for view in found
        if (stale is None or view.stale == stale)
        and (q.lower() in view.key.lower() or q.lower() in (view.owner or "").lower())
    ]
    return render.json_response({"flags": shown, "snapshot_version": version})


@router.post(
    f"{ROOT}/evaluate",
    **operation(
        READ, "All flags for a caller", body=EvaluateBody, reply=EvaluateReply, examples=CONTEXTS
    ),
)
async def evaluate(request: Request) -> Response:
    """As the service itself would decide them, without entering any statistics."""
    body = await read_json(request, EvaluateBody)
    snapshot = await (await admin_of(request)).snapshot()
    found = snapshot.evaluate_all(context_of(request, body.context))
    return render.json_response(
        {"flags": {key: render_flags.decided(made) for key, made in found.items()}}
    )


@router.post(f"{ROOT}/kill-all", **_switch("Switch every flag off now"))
async def kill_all(request: Request, wait: Wait = False) -> Response:
    """Running answers skip every flagged node at the next one."""
    admin, reason = await admin_of(request), await reason_of(request)
    done = await admin.kill_all(wish=wish_of(request, reason))
    found = await waited(request, admin, done.version, wait=wait and not done.local)
    return _killed(done.version, found, local=done.local)


@router.post(f"{ROOT}/unkill-all", **_switch("End the kill of all flags"))
async def unkill_all(request: Request, wait: Wait = False) -> Response:
    """Flags that were killed by name stay so."""
    admin, reason = await admin_of(request), await reason_of(request)
    version = await admin.unkill_all(wish=wish_of(request, reason))
    return _killed(version, await waited(request, admin, version, wait=wait), local=False)


@router.get(f"{ROOT}/{{key}}", **operation(READ, "One flag", reply=FlagDetails, errors=(404, 422)))
async def flag(request: Request, key: FlagKey) -> Response:
    """With its definition; the ETag is its version, for If-Match."""
    view = await (await admin_of(request)).get(key)
    response = render.json_response(render_flags.details(view))
    response.headers["ETag"] = f'"{view.version}"'
    return response


@router.put(
    f"{ROOT}/{{key}}",
    **operation(
        WRITE,
        "Define a flag",
        body=FlagPut,
        reply=ChangedReply,
        errors=(409, 412, 428),
        examples=PUTS,
    ),
)
async def put(
    request: Request, key: FlagKey, if_match: IfMatch = None, wait: Wait = False
) -> Response:
    """Replace the whole definition; If-Match is needed when there is one to replace."""
    seen = NOTHING_STORED if if_match is None else seen_version(if_match)
    body = await read_json(request, FlagPut)
    edit = Edit(definition=body.definition, metadata=_metadata(body))
    try:
        return await _edit(request, key, edit, seen=seen, wait=wait, reason=body.reason)
    except VersionConflict:
        if if_match is not None:
            raise
        sentence = "The flag is stored already; If-Match must carry its version, or *."
        raise VersionNeeded(sentence) from None


@router.patch(
    f"{ROOT}/{{key}}",
    **operation(
        WRITE,
        "Change a flag",
        body=FlagPatch,
        reply=ChangedReply,
        errors=(404, 409, 412),
        examples=PATCHES,
    ),
)
async def patch(
    request: Request, key: FlagKey, if_match: IfMatch = None, wait: Wait = False
) -> Response:
    """On, off, a share, or members of the definition. 409 names a variable that forbids it."""
    seen = seen_version(if_match)
    body = await read_json(request, FlagPatch)
    edit = _edit_of(body)
    return await _edit(request, key, edit, seen=seen, wait=wait, reason=body.reason)


@router.post(f"{ROOT}/{{key}}/kill", **_switch("Switch a flag off now", 404))
async def kill(request: Request, key: FlagKey, wait: Wait = False) -> Response:
    """Above everything else, and on this host even while the database is away (then 202)."""
    admin, reason = await admin_of(request), await reason_of(request)
    done = await admin.kill(key, wish=wish_of(request, reason))
    found = await waited(request, admin, done.version, wait=wait and not done.local)
    return _killed(done.version, found, local=done.local)


@router.post(f"{ROOT}/{{key}}/unkill", **_switch("End the kill of a flag", 404))
async def unkill(request: Request, key: FlagKey, wait: Wait = False) -> Response:
    """The other layers decide again."""
    admin, reason = await admin_of(request), await reason_of(request)
    version = await admin.unkill(key, wish=wish_of(request, reason))
    return _killed(version, await waited(request, admin, version, wait=wait), local=False)


@router.get(
    f"{ROOT}/{{key}}/explain",
    **operation(READ, "Why a flag is what it is", reply=ExplainReply, errors=(404, 422)),
)
async def explain(
    request: Request,
    key: FlagKey,
    targeting_key: Annotated[str, Query(max_length=SHOWN_CHARS)] = "",
) -> Response:
    """Every layer's opinion for a caller; `attr.tenant=pilot` adds an attribute."""
    attributes = {
        name.removeprefix(ATTRIBUTE): value
        for name, value in request.query_params.items()
        if name.startswith(ATTRIBUTE)
    }
    context = foreign_context(targeting_key, attributes, timestamp=_now(request))
    snapshot = await (await admin_of(request)).snapshot()
    return render.json_response(snapshot.explain(key, context).as_json())


def context_of(request: Request, given: EvaluationContext) -> FlagContext:
    """A caller as a body describes one."""
    return foreign_context(given.targetingKey, given.model_extra or {}, timestamp=_now(request))


def _now(request: Request) -> int:
    return int(services_of(request).clock.now())


def _edit_of(body: FlagPatch) -> Edit:
    given = body.model_fields_set - {"reason"}
    short = {name for name in ("on", "percent") if getattr(body, name) is not None}
    if not given or (short and given != short) or len(short) > 1:
        raise Unprocessable("Give `on`, or `percent`, or what should be replaced.")
    if short:
        return Edit(on=body.on, percent=body.percent)
    if "definition" in given and (body.definition is None or given & set(MEMBERS)):
        raise Unprocessable("Give a whole `definition` or some of its members.")
    members = {name: getattr(body, name) for name in MEMBERS if name in given}
    return Edit(definition=body.definition, members=members, metadata=_metadata(body))


def _metadata(body: FlagPut | FlagPatch) -> dict[str, Any]:
    names = {"owner": "owner", "expires_at": "expiresAt"}
    given = {field: name for field, name in names.items() if field in body.model_fields_set}
    return {name: getattr(body, field) for field, name in given.items()}


async def _edit(
    request: Request, key: str, edit: Edit, *, seen: int | None, wait: bool, reason: str
) -> Response:
    admin = await admin_of(request)
    new = edit.definition is not None
    try:
        view = await admin.edit(key, edit, wish=wish_of(request, reason), if_match=seen, new=new)
    except BadDefinition as error:
        raise (error.below("/definition") if new else error) from None
    found = await waited(request, admin, view.version, wait=wait)
    return told(render_flags.details(view), found, etag=view.version)


def _killed(version: int, found: Any, *, local: bool) -> Response:
    response = told({"version": version, "local": local}, found)
    if local:
        response.status_code = HTTPStatus.ACCEPTED
    return response
