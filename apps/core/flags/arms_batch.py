"""What one worker has counted in the arms and not yet handed to the database."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from apps.core.storage.rollout_counts import Batch, Cell, Tally, Unit, Vote

MOST_WAITING = 50_000
MOST_SEEN = 100_000
UnitKey = tuple[str, int, str]
VoteKey = tuple[str, int, str, str]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class Sum:
    """A tally that grows."""

    n: int = 0
    bad: int = 0
    total: float = 0.0
    total_sq: float = 0.0

    def add(self, *, n: int = 0, bad: int = 0, total: float = 0.0, total_sq: float = 0.0) -> None:
        """Count more."""
        self.n += n
        self.bad += bad
        self.total += total
        self.total_sq += total_sq


class Seen:
    """Remembers the newest half of `most` or more keys; the database knows them all."""

    def __init__(self, most: int = MOST_SEEN) -> None:
        self._half = most // 2
        self._new: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def __contains__(self, key: object) -> bool:
        return key in self._new or key in self._old

    def add(self, key: Hashable) -> None:
        """Remember one."""
        self._new.add(key)
        if len(self._new) > self._half:
            self._old, self._new = self._new, set()


class Gathered:
    """Sums, units and votes; memory is bounded while the database is away.

    A unit or vote that the database has confirmed is not sent again. Sums have as many cells as
    there are metrics, arms and ten-second slots; units and votes past `most` are dropped and
    counted in `dropped`: they come again with the unit's next request.
    """

    def __init__(self, *, most: int = MOST_WAITING) -> None:
        self.dropped = 0
        self._most = most
        self._sums: dict[Cell, Sum] = {}
        self._units: dict[UnitKey, Unit] = {}
        self._votes: dict[VoteKey, Vote] = {}
        self._seen = Seen()

    def __bool__(self) -> bool:
        return bool(self._sums or self._units or self._votes)

    def sum(self, cell: Cell) -> Sum:
        """The sum of a cell, to add to; one that would be too many leads nowhere."""
        found = self._sums.get(cell)
        if found is None:
            found = Sum()
            if len(self._sums) < self._most:
                self._sums[cell] = found
            else:
                self.dropped += 1
        return found

    def unit(self, unit: Unit) -> bool:
        """Take a sticky unit; whether it is new here."""
        key = (unit.rollout_id, unit.epoch, unit.unit_hash)
        return self._take(key, unit, self._units)

    def vote(self, vote: Vote) -> bool:
        """Take a vote; whether it is the first here of its unit and metric."""
        key = (vote.rollout_id, vote.epoch, vote.metric, vote.unit_hash)
        return self._take(key, vote, self._votes)

    def take(self) -> Batch:
        """Hand over everything."""
        sums = {cell: _tally(one) for cell, one in self._sums.items()}
        batch = Batch(sums, tuple(self._units.values()), tuple(self._votes.values()))
        self._sums, self._units, self._votes = {}, {}, {}
        return batch

    def confirm(self, batch: Batch) -> None:
        """The database has it: its units and votes need not be told again."""
        for key in _keys(batch):
            self._seen.add(key)

    def give_back(self, batch: Batch, *, sums: bool) -> None:
        """Keep a batch for the next attempt, ahead of what came since.

        Args:
            batch: what could not be handed over.
            sums: whether its sums are known not to be stored; they must not count twice.
        """
        newer, self._units, self._votes = (self._units, self._votes), {}, {}
        for unit in (*batch.units, *newer[0].values()):
            self.unit(unit)
        for vote in (*batch.votes, *newer[1].values()):
            self.vote(vote)
        for cell, tally in batch.tallies.items() if sums else ():
            self.sum(cell).add(n=tally.n, bad=tally.bad, total=tally.total, total_sq=tally.total_sq)

    def _take(self, key: K, value: V, waiting: dict[K, V]) -> bool:
        if key in waiting or key in self._seen:
            return False
        if len(waiting) >= self._most:
            self.dropped += 1
            return False
        waiting[key] = value
        return True


def _keys(batch: Batch) -> Iterable[UnitKey | VoteKey]:
    yield from ((one.rollout_id, one.epoch, one.unit_hash) for one in batch.units)
    for vote in batch.votes:
        yield (vote.rollout_id, vote.epoch, vote.metric, vote.unit_hash)


def _tally(one: Sum) -> Tally:
    return Tally(one.n, one.bad, one.total, one.total_sq)
