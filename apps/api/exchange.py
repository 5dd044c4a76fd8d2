"""What is known of one request while it is served, shared by middleware and routes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from starlette.types import Scope

from apps.core.domain.models import Caller

KEY = "dtrag.exchange"


@dataclass(slots=True)
class Exchange:
    """The one mutable record of a request; `timer` is its deadline, `started_s` monotonic."""

    request_id: str
    started_s: float
    deadline_s: float
    timer: asyncio.Timeout | None = None
    caller: Caller | None = None
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    timings_ms: list[tuple[str, float]] = field(default_factory=list)
    cached: bool | None = None

    def header(self, name: bytes, value: str) -> None:
        """Set a header of the response, whoever renders it."""
        kept = [each for each in self.headers if each[0] != name]
        self.headers = [*kept, (name, value.encode("ascii", "replace"))]

    def lift_deadline(self) -> None:
        """Let a stream outlive the request's time; its run keeps a deadline of its own."""
        if self.timer is not None:
            self.timer.reschedule(None)


def exchange_of(scope: Scope) -> Exchange:
    """The record that the outermost middleware has made."""
    return cast(Exchange, scope[KEY])
