"""Bodies of the administration of staged rollouts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from apps.api.schemas.base import NO_NUL, WHOLE, Reply, Request

FlagName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
UnitName = Literal["user_id", "session_id", "request_id", "api_key_id"]
Reason = Annotated[str, StringConstraints(max_length=1000, pattern=NO_NUL)]
Percent = Annotated[float, Field(gt=0, le=100)]


class RolloutBody(Request):
    """A ladder for one flag; it changes nothing until it is started."""

    flag_key: FlagName
    stages: list[Percent] | None = Field(
        default=None, min_length=1, max_length=20, description="Rising percentages, the last 100."
    )
    bucket_by: list[UnitName] = Field(
        default=["user_id", "session_id", "request_id"],
        min_length=1,
        max_length=4,
        description="The first that a request has is its unit.",
    )
    holdback: Annotated[float, Field(ge=1, le=5)] | None = Field(
        default=None, description="Units kept in the control at the last stage, percent."
    )
    policy: dict[str, Any] = Field(
        default_factory=dict,
        description="`preset` (default, weekly) and the fields of the policy that differ from it.",
    )
    reason: Reason = ""


class RolloutWord(Request):
    """Why."""

    reason: Reason = ""


class RolloutStart(Request):
    """Why, and how."""

    reason: Reason = ""
    force: bool = Field(default=False, description="Start although it cools down.")
    salt: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = Field(
        default=None, description="Another one draws an independent cohort."
    )


class RolloutStep(Request):
    """Why, and where to."""

    reason: Reason = ""
    to_stage: Annotated[int, Field(ge=0, le=19), WHOLE] | None = Field(
        default=None, description="Index of a stage; the next one when absent."
    )
    force: bool = Field(default=False, description="Against the blockers.")


class RolloutReply(Reply):
    """Where a rollout stands; `epoch` is its running attempt or the next one."""

    id: str
    flag_key: str
    state: Literal["DRAFT", "RUNNING", "HELD", "ROLLED_BACK", "COMPLETED", "KILLED"]
    hold_reason: str | None
    stages: list[float]
    stage_idx: int
    percent: float
    holdback: float
    epoch: int
    bucket_by: list[str]
    salt: str
    started_at: str | None
    stage_started_at: str | None
    created_at: str
    updated_at: str
    version: int


class RolloutDraft(RolloutReply):
    """A draft, and what to expect of it."""

    forecast: dict[str, Any]
    warnings: list[str]


class RolloutsReply(Reply):
    """The newest rollouts."""

    rollouts: list[RolloutReply]


class ArmReply(Reply):
    """One arm over the stages of an attempt."""

    units: int
    metrics: dict[str, dict[str, float | None]]


class EvidenceReply(Reply):
    """What one metric says; S1, S0 are bad votes of canary and control, one for each stage."""

    metric: str
    role: Literal["guardrail", "signal", "absolute"]
    S1: list[int]
    S0: list[int]
    w: list[float]
    E: float | None
    E_minus: float | None
    threshold: float


class NextAction(Reply):
    """What the controller would do now, or a person may."""

    action: str
    reason: str
    stage_idx: int | None = None


class NodeHealth(Reply):
    """The flag's node in one worker; failing in half of them rolls back."""

    worker: str
    runs: int
    failed_units: int
    failing: bool


class RolloutDetails(RolloutReply):
    """Everything of one rollout, at one look."""

    attempt: int
    policy: dict[str, Any]
    tau: dict[str, float] | None
    arms: dict[str, ArmReply]
    evidence: list[EvidenceReply]
    combined_E: float
    threshold: float
    srm_E: float
    srm_threshold: float
    blockers: list[str]
    advice: str | None
    vetoes: list[str] = Field(description="Hosts whose environment forbids the flag.")
    kills: list[str] = Field(description="What kills the flag; a KILL file with its place.")
    nodes: list[NodeHealth] = Field(description="How its node does in each worker that ran it.")
    trigger: str | None = Field(description="Why somebody asked for a rollback, until it is done.")
    next_action: NextAction
    last_human_action: dict[str, Any] | None
    at: str


class StoppedReply(RolloutReply):
    """A rollout that was rolled back; the workers are told only with `wait`."""

    acked: int | None = None
    expected: int | None = None
    elapsed_ms: float | None = None
    switched: dict[str, float] | None = None
    missing: list[str] | None = None
