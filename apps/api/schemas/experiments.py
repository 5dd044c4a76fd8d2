"""Bodies of the administration of experiments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from apps.api.schemas.base import WHOLE, Reply, Request
from apps.api.schemas.rollouts import FlagName, Percent, Reason, UnitName

Variant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
MetricName = Literal[
    "error", "slow", "fallback", "cost", "quality", "unsupported", "node_error", "feedback",
    "pii_miss",
]  # fmt: skip
Weight = Annotated[int, Field(ge=1, le=1_000_000), WHOLE]


class ExperimentBody(Request):
    """Variants of one flag with their weights; `off`, or the first by name, is the reference."""

    flag_key: FlagName
    arms: dict[Variant, Weight] = Field(min_length=2, max_length=20)
    percent: Percent = 100.0
    bucket_by: list[UnitName] = Field(
        default=["user_id", "session_id", "request_id"], min_length=1, max_length=4
    )
    primary: MetricName = Field(default="quality", description="The metric that decides.")
    guardrails: list[MetricName] = Field(
        default=["error", "slow", "fallback", "cost", "unsupported"],
        max_length=8,
        description="Metrics that must not get worse; the fewer, the sooner each decides.",
    )
    reason: Reason = ""


class ExperimentReply(Reply):
    """Where an experiment stands."""

    id: str
    flag_key: str
    state: Literal["DRAFT", "RUNNING", "HELD", "STOPPED", "COMPLETED", "KILLED"]
    arms: dict[str, int]
    percent: float
    primary: str
    guardrails: list[str]
    epoch: int
    bucket_by: list[str]
    started_at: str | None
    created_at: str
    version: int


class ExperimentsReply(Reply):
    """The newest experiments."""

    experiments: list[ExperimentReply]


class Comparison(Reply):
    """A variant against the reference in one metric; E of 1 says nothing."""

    arm: str
    against: str
    metric: str
    E_worse: float
    E_better: float
    threshold: float
    verdict: Literal["worse", "better", "undecided"]
    role: Literal["primary", "guardrail"]
    relative_risk: dict[str, float | None] | None = None
    difference: dict[str, float | None] | None = None


class Conclusion(Reply):
    """What the primary metric says of a variant, and the guardrails that it harms."""

    arm: str
    against: str
    verdict: Literal["worse", "better", "undecided"]
    harmed: list[str]


class ExperimentResult(ExperimentReply):
    """The result so far; it may be looked at at any time."""

    attempt: int
    results: list[dict[str, Any]]
    comparisons: list[Comparison]
    conclusions: list[Conclusion]
    srm_E: float
    srm_threshold: float
    confidence: float
