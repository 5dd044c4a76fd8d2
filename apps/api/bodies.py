"""JSON bodies read strictly: UTF-8, no duplicate names, no NaN, bounded depth.

`json` is used rather than orjson because only it can report a name that occurs twice; bodies that
cannot hide one take a shorter way.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from apps.api.errors import unreadable
from apps.api.exchange import exchange_of
from apps.core.errors import UnsupportedOperation, UserFailure

MAX_DEPTH = 64
# Above this size, parsing would hold the event loop for more than about 5 ms.
THREAD_BYTES = 256 * 1024
JSON_TYPE = re.compile(rb'application/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?', re.IGNORECASE)
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
BRACKETS = re.compile(rb"[\[\]{}]")

Model = TypeVar("Model", bound=BaseModel)


async def read_json(request: Request, model: type[Model]) -> Model:
    """The request's body as `model`.

    Raises:
        UnsupportedOperation: the content type is not JSON in UTF-8.
        UserFailure: the bytes are not JSON.
        MissingParameter, Unprocessable: the JSON is not what the route takes.
    """
    content_type = exchange_of(request.scope).asked.get(b"content-type", b"")
    if content_type != b"application/json" and not JSON_TYPE.fullmatch(content_type.strip()):
        raise UnsupportedOperation("The body must be application/json in UTF-8.")
    raw = await whole_body(request)
    if len(raw) > THREAD_BYTES:
        return await asyncio.to_thread(parse, raw, model)
    return parse(raw, model)


async def whole_body(request: Request) -> bytes:
    """The request's bytes, which are kept for whoever asks again.

    Raises:
        ClientDisconnect: the caller has gone.
    """
    exchange = exchange_of(request.scope)
    if exchange.body is None:
        exchange.body = await _received(request)
    return exchange.body


async def _received(request: Request) -> bytes:
    pieces = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def parse(raw: bytes, model: type[Model]) -> Model:
    """Decode and check in one go."""
    flat = _flat(raw, model)
    return _strict(raw, model) if flat is None else flat


def _flat(raw: bytes, model: type[Model]) -> Model | None:
    """What pydantic's own parser makes of a plain good body, in a third of the time.

    It would take the last of two equal names; a body with as many colons as fields has none
    twice. Everything else is for the strict way, which also finds the words for what is wrong.
    """
    colons = raw.count(b":")
    if colons > len(model.__pydantic_fields__):
        return None
    try:
        value: Model = model.__pydantic_validator__.validate_json(raw)
    except ValidationError:
        return None
    return value if len(value.model_fields_set) == colons else None


def _strict(raw: bytes, model: type[Model]) -> Model:
    value = decode(raw)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise unreadable(error) from None


def decode(raw: bytes) -> object:
    """JSON to plain values.

    Raises:
        UserFailure: wrong encoding, a syntax error, NaN, a name given twice, or too deep.
    """
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _refuse_depth(raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UserFailure("The body is not UTF-8.") from None
    try:
        value: object = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise UserFailure(f"The body is not JSON: {error.msg} at {error.pos}.") from None
    except ValueError as error:
        raise UserFailure(f"The body is not usable JSON: {error}.") from None
    return value


def _refuse_depth(raw: bytes) -> None:
    depth = 0
    for match in BRACKETS.finditer(STRINGS.sub(b"", raw)):
        depth += 1 if match[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            raise UserFailure(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
