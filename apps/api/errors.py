"""Every failure as one problem document (RFC 9457), without stack, path or SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from apps.api.exchange import exchange_of
from apps.core.errors import (
    DtRagError,
    LimitReached,
    MissingParameter,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    SystemFailure,
    TooLarge,
    Unprocessable,
    UnsupportedOperation,
    UserFailure,
    WrongMethod,
)

PROBLEM = "application/problem+json"
INTERNAL = "The service failed; the request id finds the reason in its log."
DETAIL_CHARS = 500
NAME_CHARS = 100
OBJECT_TYPES = ("model_type", "dict_type")
MAX_LISTED = 100

BY_STATUS: dict[int, type[DtRagError]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    405: WrongMethod,
    413: TooLarge,
    415: UnsupportedOperation,
    422: Unprocessable,
    429: LimitReached,
}


def problem(error: DtRagError, request_id: str) -> dict[str, object]:
    """The body of a failed request, ready for JSON."""
    return {
        "type": f"urn:dtrag:error:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": printable(error.detail)[:DETAIL_CHARS],
        "request_id": request_id,
        "retryable": error.retryable,
        **_carried(error.members),
    }


def _carried(members: Mapping[str, object]) -> dict[str, object]:
    return {name: _printable(value) for name, value in members.items()}


def _printable(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value[:MAX_LISTED]] if isinstance(value, list) else value


def problem_response(error: DtRagError, request_id: str) -> Response:
    """A whole response with the headers that its status asks for."""
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="dt-rag"'
    body = orjson.dumps(problem(error, request_id))
    return Response(body, status_code=error.status, media_type=PROBLEM, headers=headers)


async def on_error(request: Request, error: Exception) -> Response:
    """Answer with a problem, whatever of our own or of the framework was raised."""
    named = _named(error)
    response = problem_response(named, exchange_of(request.scope).request_id)
    if isinstance(error, HTTPException) and error.headers and "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _named(error: Exception) -> DtRagError:
    if isinstance(error, DtRagError):
        return error
    if isinstance(error, RequestValidationError):
        # Its places begin with where a parameter stood: path, query or header.
        return fault([{**each, "loc": each["loc"][1:]} for each in error.errors()])
    if isinstance(error, HTTPException):
        kind = BY_STATUS.get(error.status_code)
        if kind is None:
            kind = UserFailure if error.status_code < 500 else SystemFailure
        return kind(str(error.detail) if error.status_code < 500 else INTERNAL)
    return SystemFailure(INTERNAL)


def unreadable(error: ValidationError) -> DtRagError:
    """The first fault of a body as a sentence that names the field, never its value."""
    return fault(error.errors(include_url=False, include_context=False, include_input=False))


def fault(errors: Sequence[Any]) -> DtRagError:
    """Turn pydantic's list of faults into one error; a missing field has its own code."""
    first = errors[0]
    name = ".".join(str(part) for part in first["loc"])[:NAME_CHARS]
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] in OBJECT_TYPES:
        # pydantic's own words name our class.
        message = "Input should be an object"
    kind = MissingParameter if first["type"] == "missing" else Unprocessable
    return kind(f"{name}: {message}" if name else message)


def printable(text: str) -> str:
    """The text without anything that JSON in UTF-8 cannot carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
