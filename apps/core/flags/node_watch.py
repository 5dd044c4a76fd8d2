"""Whether the nodes of flags work in this process: the health check that workers report.

A node is failing when the latest canary requests of several units, one after the other, lost it.
One customer whose questions always break it is one unit, and no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from apps.core.domain.flags import Exposed
from apps.core.resilience import BreakerLimits

# Requirements document 003 stops calling a dependency after as many failures in a row.
FAILURES = BreakerLimits().failures_to_open


@dataclass(frozen=True, slots=True)
class NodeSign:
    """How a flag's node does in one worker, in one attempt of a rollout.

    Fields:
        runs: canary requests that reached it.
        failed_units: units that lost it since it last worked, at most `FAILURES`.
    """

    flag_key: str
    rollout: str
    epoch: int
    runs: int
    failed_units: int


@dataclass(slots=True)
class _Seen:
    attempt: tuple[str, int]
    runs: int = 0
    failed: set[str] = field(default_factory=set)


class NodeWatch:
    """Remembers the running attempt of each flag; `told` is called when a node begins to fail."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self._told = told
        self._seen: dict[str, _Seen] = {}

    def note(self, met: Exposed, *, failed: bool) -> None:
        """Take the end of a canary request that met the flag."""
        if met.rollout is None or met.epoch is None:
            return
        attempt = (met.rollout, met.epoch)
        seen = self._seen.get(met.flag_key)
        if seen is None or seen.attempt != attempt:
            # An answer of the attempt before must not wipe out what is known of this one.
            if seen is not None and seen.attempt[0] == met.rollout and seen.attempt[1] > met.epoch:
                return
            seen = self._seen[met.flag_key] = _Seen(attempt)
        before = len(seen.failed) >= FAILURES
        seen.runs += 1
        if not failed:
            seen.failed.clear()
        elif not before:
            seen.failed.add(met.unit_hash)
        if before != (len(seen.failed) >= FAILURES):
            self._told()

    def signs(self) -> Iterator[NodeSign]:
        """What is known, flag by flag."""
        for key, seen in self._seen.items():
            yield NodeSign(key, *seen.attempt, seen.runs, len(seen.failed))
