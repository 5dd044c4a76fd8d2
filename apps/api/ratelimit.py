"""Quotas of a key, counted in this process: a fixed window a minute and one a day.

With several workers each counts for itself, so a key may reach its limit once in each worker.
A fixed window costs one dictionary look-up; a burst over a window's edge may reach twice the
limit within one minute, which a quota that protects capacity can bear.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.core.domain.ports import Clock

MINUTE_S = 60
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of the tighter window after this request; below 0 it was not admitted."""

    limit: int
    remaining: int
    reset_s: int

    @property
    def refused(self) -> bool:
        """Whether the window was full already."""
        return self.remaining < 0


@dataclass(slots=True)
class _Window:
    number: int = -1
    used: int = 0


class Limiter:
    """Counts requests by key; holds one small record a key and window length."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, int], _Window] = {}

    def take(self, key_id: str, *, per_minute: int | None, per_day: int | None) -> Allowance | None:
        """Count one request unless a window is full; None when the key has no limit."""
        now = self._clock.now()
        windows: list[_Window] = []
        tightest: Allowance | None = None
        for length_s, limit in ((MINUTE_S, per_minute), (DAY_S, per_day)):
            if limit is None:
                continue
            window = self._window(key_id, length_s, now)
            windows.append(window)
            left = Allowance(limit, limit - window.used - 1, int(length_s - now % length_s) + 1)
            if tightest is None or left.remaining < tightest.remaining:
                tightest = left
        if tightest is not None and not tightest.refused:
            for window in windows:
                window.used += 1
        return tightest

    def used_today(self, key_id: str, used: int) -> None:
        """Start from what other processes or an earlier run have counted, when that is more."""
        window = self._window(key_id, DAY_S, self._clock.now())
        window.used = max(window.used, used)

    def _window(self, key_id: str, length_s: int, now: float) -> _Window:
        window = self._windows.setdefault((key_id, length_s), _Window())
        number = int(now // length_s)
        if window.number != number:
            window.number, window.used = number, 0
        return window
