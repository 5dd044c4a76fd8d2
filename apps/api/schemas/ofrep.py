"""Bodies of OFREP, the OpenFeature Remote Evaluation Protocol (version 0.2)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from apps.api.schemas.base import Reply, Request
from apps.api.schemas.flags import EvaluationContext

ErrorCode = Literal[
    "PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"
]


class OfrepBody(Request):
    """For whom."""

    context: EvaluationContext = Field(default_factory=EvaluationContext)


class OfrepFlag(Reply):
    """One flag; without a value the code's own default counts."""

    key: str
    value: Any = None
    variant: str | None = None
    reason: str
    metadata: dict[str, str | float | bool]


class OfrepFailure(Reply):
    """Why there is no decision; `key` is absent when no flag is to blame."""

    key: str | None = None
    errorCode: ErrorCode
    errorDetails: str


class OfrepBulk(Reply):
    """All flags; the ETag changes when anything in it does. `metadata` are the document's."""

    flags: list[OfrepFlag | OfrepFailure]
    metadata: dict[str, str | float | bool] | None = None
