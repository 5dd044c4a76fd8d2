"""Administration of API keys; each change holds on the next request in every worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.admission import caller_of
from apps.api.bodies import read_json
from apps.api.operation import operation
from apps.api.ratelimit import DAY_S
from apps.api.schemas.keys import (
    KeyBody,
    KeyReply,
    KeysReply,
    NewKeyReply,
    RotateBody,
    UsageReply,
)
from apps.api.services import services_of
from apps.api.store_ports import Keys, KeyWish
from apps.core.errors import NotAllowed

SCOPE = "keys:write"
ROOT = "/api/v1/admin/api-keys"
KeyId = Annotated[str, Path(min_length=1, max_length=64)]
EXAMPLE = {"reader": {"name": "search page", "scopes": ["search", "answer"], "expires_days": 90}}
router = APIRouter(tags=["api keys"])


@router.get(ROOT, **operation(SCOPE, "All keys", reply=KeysReply))
async def keys(request: Request) -> Response:
    """Without any secret."""
    found = await (await _keys(request)).every()
    return render.json_response({"keys": [render.key(each) for each in found]})


@router.post(
    ROOT,
    **operation(SCOPE, "Make a key", body=KeyBody, reply=NewKeyReply, status=201, examples=EXAMPLE),
)
async def create(request: Request) -> Response:
    """The secret is in this reply and nowhere else."""
    wish = await _wish(request)
    made, secret = await (await _keys(request)).create(wish)
    return render.json_response({**render.key(made), "api_key": secret}, status=201)


@router.get(f"{ROOT}/{{key_id}}", **operation(SCOPE, "One key", reply=KeyReply, errors=(404, 422)))
async def key(request: Request, key_id: KeyId) -> Response:
    """Without its secret."""
    return render.json_response(render.key(await (await _keys(request)).get(key_id)))


@router.put(
    f"{ROOT}/{{key_id}}",
    **operation(
        SCOPE, "Change a key", body=KeyBody, reply=KeyReply, errors=(404,), examples=EXAMPLE
    ),
)
async def change(request: Request, key_id: KeyId) -> Response:
    """Replace name, scopes, addresses, end and limits; the secret stays."""
    wish = await _wish(request)
    keys = await _keys(request)
    _refuse_escalation(request, (await keys.get(key_id)).scopes)
    return render.json_response(render.key(await keys.alter(key_id, wish)))


@router.delete(
    f"{ROOT}/{{key_id}}",
    **operation(SCOPE, "Revoke a key", reply=KeyReply, errors=(404, 422)),
)
async def revoke(request: Request, key_id: KeyId) -> Response:
    """The next request with it is refused, in every worker."""
    keys = await _keys(request)
    _refuse_escalation(request, (await keys.get(key_id)).scopes)
    return render.json_response(render.key(await keys.revoke(key_id)))


@router.post(
    f"{ROOT}/{{key_id}}/rotate",
    **operation(
        SCOPE,
        "Give a key a successor",
        body=RotateBody,
        reply=NewKeyReply,
        status=201,
        errors=(404, 409),
        examples={"now": {}, "an hour of both": {"overlap_s": 3600}},
    ),
)
async def rotate(request: Request, key_id: KeyId) -> Response:
    """A new id and secret with the same rights; the old key ends after the overlap."""
    body = await read_json(request, RotateBody)
    keys = await _keys(request)
    _refuse_escalation(request, (await keys.get(key_id)).scopes)
    made, secret = await keys.rotate(key_id, overlap_s=body.overlap_s)
    return render.json_response({**render.key(made), "api_key": secret}, status=201)


@router.get(
    f"{ROOT}/{{key_id}}/usage",
    **operation(SCOPE, "How often a key was used", reply=UsageReply, errors=(404, 422)),
)
async def usage(request: Request, key_id: KeyId) -> Response:
    """Requests a day (UTC)."""
    days = await (await _keys(request)).usage(key_id)
    return render.json_response({"id": key_id, "days": dict(days), "total": sum(days.values())})


async def _keys(request: Request) -> Keys:
    return (await services_of(request).stores.get()).keys


async def _wish(request: Request) -> KeyWish:
    body = await read_json(request, KeyBody)
    _refuse_escalation(request, body.scopes)
    now = services_of(request).clock.now()
    days = body.expires_days
    return KeyWish(
        name=body.name,
        scopes=tuple(dict.fromkeys(body.scopes)),
        tenant=body.tenant,
        allowed_ips=tuple(body.allowed_ips),
        expires_at=None if days is None else now + days * DAY_S,
        rate_limit_per_minute=body.rate_limit,
        quota_per_day=body.quota,
    )


def _refuse_escalation(request: Request, scopes: Sequence[str]) -> None:
    # Otherwise `keys:write` alone could make itself an administrator, or rotate one's key.
    if "admin" in scopes and not caller_of(request).may("admin"):
        raise NotAllowed("Only the scope 'admin' may give, change or take the scope 'admin'.")
