"""Bodies of the health routes."""

from __future__ import annotations

from typing import Literal

from apps.api.schemas.base import Reply

Connection = Literal["connected", "disconnected", "loading", "not_configured"]


class HealthReply(Reply):
    """The overall state, in the words of the deployment report; `timestamp` is in seconds."""

    status: Literal["healthy", "degraded", "unhealthy"]
    database: Connection
    redis: Connection
    timestamp: str
    version: str
    environment: str


class AliveReply(Reply):
    """The process alone; asks nothing outside it."""

    status: Literal["alive"]
    pid: int
    memory_bytes: int | None
    uptime_s: float


class CheckReply(Reply):
    """One thing that must work; `detail` tells why not."""

    ok: bool
    detail: str


class VectorsReply(Reply):
    """How many of the searchable passages have a vector already."""

    done: int
    total: int


class ReadyReply(Reply):
    """What can be used by now; `search` may be ready seconds before `answer`."""

    ready: bool
    search: bool
    answer: bool
    checks: dict[str, CheckReply]
    index_version: str | None
    passages: int
    vectors: VectorsReply
