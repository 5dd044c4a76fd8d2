"""A clock that stands still until a test moves it."""

from __future__ import annotations


class FakeClock:
    """Both times in seconds; `tick` moves them together."""

    def __init__(self, now: float = 1_760_000_000.0) -> None:
        self._now = now
        self._monotonic = 100.0

    def now(self) -> float:
        """Seconds since 1970."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._monotonic

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds
