"""What happened in the arms of a rollout: counters, votes and units.

Workers gather for about a second and hand over one `Batch`, behind the responses. A sticky unit
has one vote a metric and epoch and is counted once; the database decides who was first, so the
counters agree with the votes whatever several workers report at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import RowMapping, Table, and_, select

from apps.core.storage.connections import Session, insert
from apps.core.storage.flag_tables import (
    flag_metric_counter,
    flag_rollout,
    flag_unit,
    flag_vote,
)

# The counter whose `n` is the number of units that were first seen in a stage.
UNITS = "units"
# Counters of the last moments, see `rollout_recent.py`; they are no metrics.
SLOT_PREFIX = "w:"
# Counters of what the control takes, see `rollout_spent.py`; neither are they.
CLASS_PREFIX = "h:"


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """Where something is counted."""

    rollout_id: str
    epoch: int
    stage_idx: int
    metric: str
    arm: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How often and how much: observations, bad ones, sum and sum of squares of a value."""

    n: int = 0
    bad: int = 0
    total: float = 0.0
    total_sq: float = 0.0


@dataclass(frozen=True, slots=True)
class Unit:
    """A sticky unit that met the flag; `unit_hash` is 32 hexadecimal characters."""

    rollout_id: str
    epoch: int
    unit_hash: str
    stage_idx: int
    arm: str
    at: float


@dataclass(frozen=True, slots=True)
class Vote:
    """A bad event of a unit, or with `score` (0..1, lower is worse) what it scored."""

    rollout_id: str
    epoch: int
    metric: str
    unit_hash: str
    stage_idx: int
    arm: str
    at: float
    score: float | None = None

    @property
    def cell(self) -> Cell:
        """Where it counts."""
        return Cell(self.rollout_id, self.epoch, self.stage_idx, self.metric, self.arm)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a worker has gathered.

    Fields:
        tallies: to be added; units that are single requests go in here under `UNITS`.
        units: sticky units; those that are new are counted under `UNITS`.
        votes: the first of each unit counts, under its metric: as `bad`, or as a score in `n`,
            `total` and `total_sq`.
    """

    tallies: Mapping[Cell, Tally]
    units: Sequence[Unit] = ()
    votes: Sequence[Vote] = ()


async def merge(s: Session, batch: Batch) -> int:
    """Add a batch; return how many votes were new.

    Units and votes may be repeated after an unknown outcome, `tallies` would count twice.
    """
    await _queue_up(s, batch)
    units = await _insert_new(s, flag_unit, batch.units)
    votes = await _insert_new(s, flag_vote, batch.votes)
    tallies = [
        *batch.tallies.items(),
        *((cell, Tally(n=n)) for cell, n in Counter(map(_unit_cell, units)).items()),
        *((Vote(**vote).cell, _counted(vote["score"])) for vote in votes),
    ]
    await _add(s, tallies)
    return len(votes)


async def tallies(s: Session, rollout_id: str, epoch: int) -> dict[Cell, Tally]:
    """Every counter of an attempt that is a metric's, and its units."""
    query = select(flag_metric_counter).where(
        flag_metric_counter.c.rollout_id == rollout_id,
        flag_metric_counter.c.epoch == epoch,
        ~flag_metric_counter.c.metric.startswith(SLOT_PREFIX),
        ~flag_metric_counter.c.metric.startswith(CLASS_PREFIX),
    )
    return {
        Cell(row.rollout_id, row.epoch, row.stage_idx, row.metric, row.arm): Tally(
            row.n, row.bad, row.total, row.total_sq
        )
        for row in await s.execute(query)
    }


async def scores(
    s: Session, rollout_id: str, epoch: int, *, metric: str, after_id: int = 0, limit: int = 10_000
) -> list[tuple[int, Vote]]:
    """Votes with a score and their ids, in the order in which they are applied."""
    return await votes(
        s, rollout_id, epoch, metrics=(metric,), after_id=after_id, limit=limit, scored=True
    )


async def votes(
    s: Session,
    rollout_id: str,
    epoch: int,
    *,
    metrics: Collection[str],
    after_id: int = 0,
    limit: int = 10_000,
    scored: bool = False,
) -> list[tuple[int, Vote]]:
    """The vote log of an attempt with its ids, to compute evidence again."""
    mine = and_(
        flag_vote.c.rollout_id == rollout_id,
        flag_vote.c.epoch == epoch,
        flag_vote.c.metric.in_(metrics),
        flag_vote.c.id > after_id,
    )
    query = select(flag_vote).where(mine).order_by(flag_vote.c.id).limit(limit)
    if scored:
        query = query.where(flag_vote.c.score.is_not(None))
    return [(row["id"], _vote(row)) for row in (await s.execute(query)).mappings()]


async def bad_units(
    s: Session, rollout_id: str, epoch: int, *, metrics: Collection[str], arm: str, since: float
) -> list[tuple[str, str]]:
    """Metric and unit of each vote for something bad since a moment."""
    mine = and_(
        flag_vote.c.rollout_id == rollout_id,
        flag_vote.c.epoch == epoch,
        flag_vote.c.metric.in_(metrics),
        flag_vote.c.arm == arm,
        flag_vote.c.at >= since,
        flag_vote.c.score.is_(None),
    )
    query = select(flag_vote.c.metric, flag_vote.c.unit_hash).where(mine)
    return [(row.metric, row.unit_hash) for row in await s.execute(query)]


async def _queue_up(s: Session, batch: Batch) -> None:
    """Let workers add to one rollout one after the other.

    So ids of votes grow in the order of their commits, and a reader that has seen an id has seen
    all below it; and counters are never locked crosswise.
    """
    counted: Iterable[Cell | Unit | Vote] = (*batch.tallies, *batch.units, *batch.votes)
    named = {one.rollout_id for one in counted}
    query = select(flag_rollout.c.id).where(flag_rollout.c.id.in_(named))
    await s.execute(query.order_by(flag_rollout.c.id).with_for_update(key_share=True))


async def _insert_new(
    s: Session, table: Table, wanted: Sequence[Unit] | Sequence[Vote]
) -> list[dict[str, Any]]:
    """Insert what is not there yet, in the given order, and return that."""
    if not wanted:
        return []
    names = [field.name for field in fields(wanted[0])]
    rows = [{name: getattr(one, name) for name in names} for one in wanted]
    statement = insert(s, table).on_conflict_do_nothing()
    # SQLAlchemy makes a few statements with many rows each of this, and compiles one.
    found = await s.execute(statement.returning(*(table.c[name] for name in names)), rows)
    return [dict(row) for row in found.mappings()]


async def _add(s: Session, tallies: Sequence[tuple[Cell, Tally]]) -> None:
    sums: dict[Cell, Tally] = {}
    for cell, tally in tallies:
        sums[cell] = _sum(sums.get(cell, Tally()), tally)
    rows = [{**_values(cell), **_values(sums[cell])} for cell in sorted(sums)]
    if not rows:
        return
    statement = insert(s, flag_metric_counter)
    grown = {
        field.name: flag_metric_counter.c[field.name] + statement.excluded[field.name]
        for field in fields(Tally)
    }
    identity = [field.name for field in fields(Cell)]
    await s.execute(statement.on_conflict_do_update(index_elements=identity, set_=grown), rows)


def _sum(one: Tally, other: Tally) -> Tally:
    return Tally(*(getattr(one, f.name) + getattr(other, f.name) for f in fields(Tally)))


def _values(value: Cell | Tally) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _counted(score: float | None) -> Tally:
    return Tally(bad=1) if score is None else Tally(n=1, total=score, total_sq=score * score)


def _unit_cell(unit: Mapping[str, Any]) -> Cell:
    return Cell(unit["rollout_id"], unit["epoch"], unit["stage_idx"], UNITS, unit["arm"])


def _vote(row: RowMapping) -> Vote:
    return Vote(**{field.name: row[field.name] for field in fields(Vote)})
