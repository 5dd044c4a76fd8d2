"""Bodies of the administration of flags."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from apps.api.schemas.base import NO_NUL, Fault, IsoDate, Reply, Request

Reason = Annotated[str, StringConstraints(max_length=1000, pattern=NO_NUL)]
Owner = Annotated[str, StringConstraints(max_length=200, pattern=NO_NUL)]
Percent = Annotated[float, Field(ge=0, le=100)]
State = Literal["ENABLED", "DISABLED"]
DEFINITION = "A flag of a flagd document; what we do not know is kept."


class FlagPut(Request):
    """A whole definition."""

    definition: dict[str, Any] = Field(description=DEFINITION)
    owner: Owner | None = None
    expires_at: IsoDate | None = Field(None, description="After it the flag is listed as stale.")
    reason: Reason = ""


class FlagPatch(Request):
    """One of the short forms `on` and `percent`, or what should be replaced."""

    on: bool | None = Field(None, description="The default variant of everybody.")
    percent: Percent | None = Field(
        None, description="A share set by hand: sticky, without a controller."
    )
    definition: dict[str, Any] | None = Field(None, description=DEFINITION)
    state: State | None = None
    variants: dict[str, Any] | None = None
    defaultVariant: str | None = None
    targeting: dict[str, Any] | None = Field(None, description="null takes the rules away.")
    metadata: dict[str, Any] | None = None
    owner: Owner | None = None
    expires_at: IsoDate | None = None
    reason: Reason = ""


class ReasonBody(Request):
    """Why."""

    reason: Reason = ""


class FlagDocument(BaseModel):
    """A flagd document; what we do not know is kept."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    flags: dict[str, Any]


class EvaluationContext(BaseModel):
    """What is known of a caller: `user_id`, `session_id`, `tenant`, `locale` … and free ones."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, hide_input_in_errors=True)

    targetingKey: str | None = None


class EvaluateBody(Request):
    """For whom flags are decided."""

    context: EvaluationContext = Field(default_factory=EvaluationContext)


class FlagEnvironment(Reply):
    """What the environment says: of the asked worker, and which hosts veto."""

    name: str = Field(examples=["FEATURE_DEBATE_MODE"])
    value: Literal["true", "false", "auto"]
    hosts: list[str]


class KillFile(Reply):
    """A file that kills the flag on one host."""

    host: str
    place: str = Field(examples=["/var/lib/dtrag/KILL on web-1"])


class FlagRollout(Reply):
    """The rollout that counts."""

    id: str
    state: str
    percent: float
    stage_idx: int
    epoch: int


class FlagReply(Reply):
    """A flag as code, SQL, environment and rollouts have it."""

    key: str
    description: str
    state: State
    default_variant: str | None
    percent: float | None = Field(description="A share that was set by hand.")
    killed: bool = Field(description="In the database, or by the KILL file of the asked host.")
    killed_by: str | None = Field(description="Who did it in the database.")
    kill_files: list[KillFile] = Field(description="KILL files of all hosts that name the flag.")
    env: FlagEnvironment
    rollout: FlagRollout | None
    hash_version: str
    kind: str
    owner: str | None
    expires_at: str | None
    stale: bool
    prerequisites: list[str]
    decided_by: str | None = Field(
        description="The layer that decides for a caller of whom nothing is known."
    )
    because: str = Field(examples=["FEATURE_DEBATE_MODE=false in /etc/dtrag.env on web-1"])
    version: int = Field(description="0 when SQL knows nothing of the flag.")


class FlagDetails(FlagReply):
    """A flag with its definition."""

    definition: dict[str, Any] | None


class Waited(Reply):
    """Which workers have switched; null when it was not asked with `wait=1`."""

    acked: int | None
    expected: int | None
    elapsed_ms: float | None
    switched: dict[str, float] | None = Field(description="Worker to its milliseconds.")
    missing: list[str] | None


class ChangedReply(FlagDetails, Waited):
    """A flag after a change."""


class FlagsReply(Reply):
    """All flags."""

    flags: list[FlagReply]
    snapshot_version: int


class KillReply(Waited):
    """After a kill, or its end."""

    version: int
    local: bool = Field(description="The database was away, and only this host knows of it.")


class Layer(Reply):
    """What one layer of the ladder said; null: nothing."""

    layer: str
    opinion: str | None
    detail: str


class ExplainReply(Reply):
    """Why a flag is what it is for a caller."""

    key: str
    value: Any
    variant: str | None
    reason: str
    decided_by: str
    ladder: list[Layer]
    bucket: int | None
    percent: float | None
    unit_name: str | None


class Decided(Reply):
    """One flag for a caller."""

    value: Any
    variant: str | None
    reason: str
    layer: str


class EvaluateReply(Reply):
    """All flags for a caller."""

    flags: dict[str, Decided]


class EnvFile(Reply):
    """The env file of the asked worker."""

    path_name: str | None
    sha256: str | None
    ok: bool


class ReloadReply(Reply):
    """After everything was read again."""

    version: int
    env_file: EnvFile


class Vetoed(Reply):
    """A flag that a document turns on and an environment keeps off."""

    key: str
    blocked_by: str
    hosts: list[str]


class ImportReply(Reply):
    """What a document changed, or would change."""

    version: int
    created: list[str]
    changed: list[str]
    removed: list[str]
    errors: list[Fault]
    warnings: list[Fault]
    vetoed: list[Vetoed]
    dry_run: bool


class AuditEntry(Reply):
    """One effective change."""

    id: int
    at: str
    actor: str
    source: str
    flag_key: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str
    evidence: dict[str, Any] | None
    prev_hash: str
    hash: str


class AuditReply(Reply):
    """Changes, the newest first."""

    rows: list[AuditEntry]
    chain_ok: bool
    broken_id: int | None = Field(description="The first row that is wrong or missing.")
    next_cursor: int | None


Cursor = Annotated[int, Field(ge=1, le=2**31 - 1)]
