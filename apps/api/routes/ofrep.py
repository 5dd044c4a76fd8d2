"""OFREP: flags for OpenFeature clients of any language; values, never rules."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.bodies import read_json, whole_body
from apps.api.errors import printable
from apps.api.flag_desk import READ, admin_of
from apps.api.operation import operation
from apps.api.render import JSON_TYPE, Json
from apps.api.routes.flags import CONTEXTS, context_of
from apps.api.schemas.flags import EvaluationContext
from apps.api.schemas.ofrep import OfrepBody, OfrepBulk, OfrepFailure, OfrepFlag
from apps.core.domain.flags import FlagDecision
from apps.core.errors import TooLarge, UserFailure
from apps.core.flags.context import FlagContext
from apps.core.flags.snapshot import Snapshot

ROOT = "/ofrep/v1/evaluate/flags"
OURS = ("layer", "rollout", "epoch", "stage", "arm")
KNOWN_CODES = ("PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT")
Seen = Annotated[str | None, Header(alias="If-None-Match", max_length=1000)]
router = APIRouter(tags=["ofrep"])


def _operation(summary: str, reply: Any, *own: int) -> dict[str, Any]:
    made = operation(READ, summary, body=OfrepBody, reply=reply, examples=CONTEXTS)
    failed = {"model": OfrepFailure}
    return {**made, "responses": {**made["responses"], **dict.fromkeys(own, failed)}}


BULK = _operation("Evaluate all flags", OfrepBulk, 400)
BULK["responses"][304] = {"description": "Nothing has changed since this ETag."}


@router.post(ROOT, **BULK)
async def bulk(request: Request, if_none_match: Seen = None) -> Response:
    """In one reply whose ETag saves the next one."""
    try:
        context = await _context(request)
    except UserFailure as error:
        return _refused(error)
    snapshot = await (await admin_of(request)).snapshot()
    found = snapshot.evaluate_all(context)
    flags = [_flag(snapshot, key, made) or _failed(key, made) for key, made in found.items()]
    told = snapshot.document_metadata
    body = orjson.dumps({"flags": flags, **({"metadata": told} if told else {})})
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    known = {each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")}
    if etag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
    return Response(body, media_type=JSON_TYPE, headers={"ETag": etag})


# A path, so that also a key that cannot exist is answered in OFREP's shape.
@router.post(f"{ROOT}/{{key:path}}", **_operation("Evaluate a flag", OfrepFlag, 400, 404))
async def one(request: Request, key: str) -> Response:
    """For the caller that the context describes."""
    try:
        context = await _context(request)
    except UserFailure as error:
        return _refused(error, key)
    snapshot = await (await admin_of(request)).snapshot()
    made = snapshot.evaluate_all(context).get(key)
    if made is None:
        details = {"errorCode": "FLAG_NOT_FOUND", "errorDetails": "There is no such flag."}
        return render.json_response({"key": printable(key), **details}, status=404)
    flag = _flag(snapshot, key, made)
    if flag is None:
        return render.json_response(_failed(key, made), status=400)
    return render.json_response(flag)


async def _context(request: Request) -> FlagContext:
    if not await whole_body(request):
        # OFREP asks for no body.
        return context_of(request, EvaluationContext())
    return context_of(request, (await read_json(request, OfrepBody)).context)


def _refused(error: UserFailure, key: str | None = None) -> Response:
    if isinstance(error, TooLarge):
        raise error
    code = "PARSE_ERROR" if error.status == HTTPStatus.BAD_REQUEST else "INVALID_CONTEXT"
    named = {} if key is None else {"key": printable(key)}
    body = {**named, "errorCode": code, "errorDetails": printable(error.detail)}
    return render.json_response(body, status=400)


def _flag(snapshot: Snapshot, key: str, made: FlagDecision) -> Json | None:
    if made.error is not None:
        return None
    facts = {name: getattr(made, name) for name in OURS}
    shown = {name: fact for name, fact in facts.items() if fact is not None}
    told: Json = {"key": key, "reason": made.reason}
    if made.value is not None:
        told |= {"value": made.value, "variant": made.variant}
    return {**told, "metadata": {**snapshot.metadata(key), **shown}}


def _failed(key: str, made: FlagDecision) -> Json:
    code = made.error if made.error in KNOWN_CODES else "GENERAL"
    details = "The flag's rules could not be evaluated."
    return {"key": key, "errorCode": code, "errorDetails": details}
