"""A clock that a test moves by hand."""

from __future__ import annotations

import time


class FakeClock:
    """Stands still until `pass_s` is called."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._elapsed_s = 0.0

    def now(self) -> float:
        return self._now + self._elapsed_s

    def monotonic(self) -> float:
        return self._elapsed_s

    def pass_s(self, seconds: float) -> None:
        self._elapsed_s += seconds


class RunningClock(FakeClock):
    """Durations are real, for tests of time limits."""

    def monotonic(self) -> float:
        return time.monotonic()
