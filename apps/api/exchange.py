"""What is known of one request while it is served, shared by middleware and routes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import cast

from starlette.types import Scope

from apps.core.domain.models import Caller

KEY = "dtrag.exchange"
ID_BYTES, IDS_DRAWN = 16, 128


@dataclass(slots=True)
class Exchange:
    """The one mutable record of a request.

    asked: the request's headers by lower-case name; the first one of a name that occurs twice.
    started_s, deadline_s: monotonic seconds.
    timer: holds the deadline as soon as the request has to wait for anything.
    limited: whether there is a deadline; a stream has none.
    body: what was sent, once somebody has read it.
    headers: of the response.
    """

    request_id: str
    started_s: float
    deadline_s: float
    asked: Mapping[bytes, bytes] = field(default_factory=dict)
    timer: asyncio.Timeout | None = None
    limited: bool = True
    caller: Caller | None = None
    body: bytes | None = None
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    timings_ms: list[tuple[str, float]] = field(default_factory=list)
    cached: bool | None = None

    def header(self, name: bytes, value: str) -> None:
        """Set a header of the response, whoever renders it."""
        self.headers[name] = value.encode("ascii", "replace")

    def lift_deadline(self) -> None:
        """Let a stream outlive the request's time; its run keeps a deadline of its own."""
        self.limited = False
        if self.timer is not None:
            self.timer.reschedule(None)


class _Ids:
    """Random ids of 128 bits; the system is asked for many at once, which costs a call each."""

    def __init__(self) -> None:
        self._left: list[str] = []

    def __call__(self) -> str:
        if not self._left:
            digits = token_hex(ID_BYTES * IDS_DRAWN)
            width = 2 * ID_BYTES
            self._left = [digits[at : at + width] for at in range(0, len(digits), width)]
        return self._left.pop()


fresh_id = _Ids()


def exchange_of(scope: Scope) -> Exchange:
    """The record that the outermost middleware has made."""
    return cast(Exchange, scope[KEY])
