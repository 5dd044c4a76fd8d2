"""What keeps one slow or broken dependency from taking the service with it.

A circuit breaker with a bounded half-open state, and the arithmetic of deadlines and pauses.
The breaker is our own because no async library bounds the half-open state: purgatory 3.0.1 and
pybreaker 1.4.1 let 20 of 20 waiting calls through (measured for requirements document 003).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from apps.core.domain.ports import Clock

BreakerState = Literal["closed", "open", "half_open"]
StateListener = Callable[[str, BreakerState], None]


def _tell_nobody(_name: str, _state: BreakerState) -> None: ...


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Requirements document 003: when to stop calling, for how long, and how to try again."""

    failures_to_open: int = 5
    open_s: float = 60.0
    concurrent_probes: int = 3
    successes_to_close: int = 3


class Breaker:
    """Refuses calls to a dependency that has failed several times in a row.

    Closed: every call passes; `failures_to_open` consecutive failures open it. Open: no call
    passes for `open_s`. Half-open: at most `concurrent_probes` calls at a time pass;
    `successes_to_close` successes close it, one failure opens it again. Not for several threads.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        limits: BreakerLimits | None = None,
        listener: StateListener = _tell_nobody,
    ) -> None:
        self.name = name
        self._clock = clock
        self._limits = limits or BreakerLimits()
        self._listener = listener
        self._state: BreakerState = "closed"
        self._epoch = 0
        self._opened_at_s = 0.0
        self._failures = 0
        self._successes = 0
        self._probes = 0

    @property
    def state(self) -> BreakerState:
        """The state at this moment; an open breaker whose time is over is half-open."""
        if self._state == "open" and self.retry_after_s == 0.0:
            self._enter("half_open")
        return self._state

    @property
    def retry_after_s(self) -> float:
        """Seconds until a call may pass again; 0 unless open."""
        if self._state != "open":
            return 0.0
        return max(0.0, self._opened_at_s + self._limits.open_s - self._clock.monotonic())

    def admit(self) -> Permit | None:
        """Let one call pass, or return None; whoever gets a permit settles it exactly once."""
        state = self.state
        if state == "open":
            return None
        if state == "half_open":
            if self._probes >= self._limits.concurrent_probes:
                return None
            self._probes += 1
        return Permit(self, self._epoch)

    def _settle(self, epoch: int, *, succeeded: bool | None) -> None:
        # A call that began before the last change of state says nothing about the present one.
        if epoch != self._epoch:
            return
        if self._state == "half_open":
            self._probes -= 1
            self._settle_probe(succeeded)
        elif succeeded:
            self._failures = 0
        elif succeeded is False:
            self._failures += 1
            if self._failures >= self._limits.failures_to_open:
                self._enter("open")

    def _settle_probe(self, succeeded: bool | None) -> None:
        if succeeded is False:
            self._enter("open")
        elif succeeded:
            self._successes += 1
            if self._successes >= self._limits.successes_to_close:
                self._enter("closed")

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._epoch += 1
        self._failures = self._successes = self._probes = 0
        if state == "open":
            self._opened_at_s = self._clock.monotonic()
        self._listener(self.name, state)


@dataclass(slots=True)
class Permit:
    """One admitted call; only the first of its three methods counts."""

    breaker: Breaker
    epoch: int
    _settled: bool = field(default=False, init=False)

    def succeed(self) -> None:
        """The dependency answered."""
        self._settle(True)

    def fail(self) -> None:
        """The dependency failed, overran, or sent something unusable."""
        self._settle(False)

    def release(self) -> None:
        """The call says nothing about the dependency: cancelled, or the caller's own mistake."""
        self._settle(None)

    def _settle(self, succeeded: bool | None) -> None:
        if not self._settled:
            self._settled = True
            self.breaker._settle(self.epoch, succeeded=succeeded)


def allowance_s(own_limit_s: float, left_s: float, *, reserve_s: float = 0.0) -> float:
    """Seconds that a call may take: its own limit, and never what a fallback will need."""
    return max(0.0, min(own_limit_s, left_s - reserve_s))


def wait_s(attempt: int, *, base_s: float, cap_s: float, rng: random.Random) -> float:
    """Pause before try number `attempt` (1 is the first retry), full jitter.

    Source: Brooker 2015, "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    return rng.uniform(0, min(cap_s, base_s * 2 ** (attempt - 1)))
