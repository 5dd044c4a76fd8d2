"""One call declares a route: its scope, its body, its reply and its failures.

What a route enforces and what the OpenAPI page says of it come from the same words, so the two
cannot differ. A route that was declared in another way is refused when the application is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Depends
from pydantic import BaseModel

from apps.api.admission import Admission
from apps.api.errors import PROBLEM
from apps.api.render import JSON_TYPE

SCOPE = "x-scope"
PUBLIC = "public"
SECURITY: list[dict[str, list[str]]] = [{"ApiKey": []}, {"Bearer": []}]
METHODS_OF_PAGE = frozenset({"get", "post", "put", "patch", "delete"})
ALWAYS = (500, 504)
GUARDED = (401, 403, 429, 503)
WITH_BODY = (400, 413, 415, 422)


def operation(
    scope: str,
    summary: str,
    *,
    reply: type[BaseModel] | None = None,
    status: int = 200,
    body: type[BaseModel] | None = None,
    examples: Mapping[str, object] | None = None,
    errors: Sequence[int] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments for FastAPI's route decorator.

    Args:
        scope: the scope that the caller needs, or `public`.
        summary: one line for the page.
        reply: the model of the reply; the route itself returns encoded bytes.
        status: of a success.
        body: the JSON body that the route reads with `read_json`; `examples` of it by name.
        errors: statuses beyond those that every such route may answer.
        extra: further OpenAPI of the operation.
    """
    shown: dict[str, Any] = {SCOPE: scope, **(extra or {})}
    statuses = [*ALWAYS, *errors]
    if scope != PUBLIC:
        shown["security"] = SECURITY
        statuses += GUARDED
    if body is not None:
        statuses += WITH_BODY
        shown.setdefault("requestBody", request_body(body, examples or {}))
    return {
        "summary": summary,
        "status_code": status,
        "response_model": reply,
        "responses": {each: problem_reply(each) for each in sorted(set(statuses))},
        "openapi_extra": shown,
        "dependencies": [] if scope == PUBLIC else [Depends(Admission(scope))],
    }


def request_body(body: type[BaseModel], examples: Mapping[str, object]) -> dict[str, Any]:
    """The OpenAPI of a JSON body; the schema itself is added by `openapi.document`."""
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {JSON_TYPE: content}}


def problem_reply(status: int) -> dict[str, Any]:
    """The OpenAPI of a failure."""
    return {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
