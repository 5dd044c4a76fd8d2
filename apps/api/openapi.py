"""The OpenAPI document: what FastAPI derives, plus bodies that routes read by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from apps.api.schemas.answer import AnswerBody, FeedbackBody
from apps.api.schemas.base import Problem
from apps.api.schemas.documents import IntakeBody
from apps.api.schemas.experiments import ExperimentBody
from apps.api.schemas.flags import EvaluateBody, FlagDocument, FlagPatch, FlagPut, ReasonBody
from apps.api.schemas.keys import KeyBody, RotateBody
from apps.api.schemas.ofrep import OfrepBody
from apps.api.schemas.rollouts import RolloutBody, RolloutStart, RolloutStep, RolloutWord
from apps.api.schemas.search import BatchBody, SearchBody

BODIES: tuple[type[BaseModel], ...] = (
    SearchBody,
    BatchBody,
    AnswerBody,
    FeedbackBody,
    IntakeBody,
    KeyBody,
    RotateBody,
    FlagPut,
    FlagPatch,
    ReasonBody,
    EvaluateBody,
    FlagDocument,
    OfrepBody,
    RolloutBody,
    RolloutStart,
    RolloutStep,
    RolloutWord,
    ExperimentBody,
)
SECURITY_SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same API key."},
}
DESCRIPTION = """\
Search and cited answers over your own documents in Korean and English.

Every failure is a problem document with a `code`; every response carries `X-Request-ID`.
Paths answer with and without a trailing slash. Unknown fields are refused.
"""


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, made once and kept by the application."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes
        )
        components = made.setdefault("components", {})
        components.setdefault("schemas", {}).update(_schemas())
        components["securitySchemes"] = SECURITY_SCHEMES
        _take_null_from_parameters(made)
        app.openapi_schema = made
    return app.openapi_schema


def _take_null_from_parameters(page: dict[str, Any]) -> None:
    """A parameter that may be left out is not required; an address cannot hold null."""
    operations = (each for path in page["paths"].values() for each in path.values())
    for parameter in (each for made in operations for each in made.get("parameters", ())):
        choices = parameter["schema"].pop("anyOf", None)
        if choices is None:
            continue
        left = [each for each in choices if each != {"type": "null"}]
        parameter["schema"].update(left[0] if len(left) == 1 else {"anyOf": left})


def _schemas() -> dict[str, Any]:
    _, taken = models_json_schema(
        [(model, "validation") for model in BODIES],
        ref_template="#/components/schemas/{model}",
    )
    _, given = models_json_schema(
        [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
    )
    return {**taken["$defs"], **given["$defs"]}
