"""The last moments of an attempt: counters in slots of ten seconds, read by whoever leads.

Slots are cells of `flag_metric_counter` whose metric begins with `w:`, so one merge writes them
with everything else. `w:<slot>` counts requests (`n`), those that went wrong (`bad`) and units
that a worker had not seen for a while (`total`); `w:<slot>:<metric>` counts bad events in `n`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, and_, delete, func, select

from apps.core.storage.connections import Session
from apps.core.storage.flag_tables import flag_metric_counter
from apps.core.storage.rollout_counts import SLOT_PREFIX, Cell

SLOT_S = 10
KEPT_S = 3600.0
# The character after the colon: slots lie between "w:" and this.
END = "w;"


@dataclass(frozen=True, slots=True)
class Moments:
    """What happened in one arm; slots that the window only touches belong to it.

    Fields:
        requests, bad: exposures of the window, and those with an error of the run or the node.
        events: metric to its bad events in the window.
        units: distinct units of the longer window, where several workers may count one twice.
        last_at: the end of the slot of the last exposure that is still known, at most `now`.
    """

    requests: int = 0
    bad: int = 0
    events: Mapping[str, int] = field(default_factory=dict)
    units: int = 0
    last_at: float | None = None


def slot_cell(cell: Cell, at: float, *, metric: str | None = None) -> Cell:
    """The slot of a moment, with the place of `cell`; or of the bad events of `metric` in it."""
    name = _slot(at) if metric is None else f"{_slot(at)}:{metric}"
    return Cell(cell.rollout_id, cell.epoch, cell.stage_idx, name, cell.arm)


async def moments(
    s: Session, rollout_id: str, epoch: int, *, now: float, window_s: float, silence_s: float
) -> dict[str, Moments]:
    """The last moments of every arm that was ever exposed within `KEPT_S`.

    Args:
        now: UTC seconds.
        window_s: how far `requests`, `bad` and `events` look back.
        silence_s: how far `units` looks back; at most `KEPT_S`.
    """
    c = flag_metric_counter.c
    mine = and_(c.rollout_id == rollout_id, c.epoch == epoch)
    newest = select(c.arm, func.max(c.metric)).where(mine, _between("w:")).group_by(c.arm)
    last = {arm: _end(metric) for arm, metric in await s.execute(newest)}
    since = _slot(now - silence_s)
    rows = (await s.execute(select(flag_metric_counter).where(mine, _between(since)))).all()
    found = {}
    for arm, end in last.items():
        here = [row for row in rows if row.arm == arm]
        fresh = [row for row in here if row.metric >= _slot(now - window_s)]
        whole = [row for row in fresh if row.metric.count(":") == 1]
        events: dict[str, int] = {}
        for row in fresh:
            metric = row.metric.partition(":")[2].partition(":")[2]
            if metric:
                events[metric] = events.get(metric, 0) + row.n
        found[arm] = Moments(
            requests=sum(row.n for row in whole),
            bad=sum(row.bad for row in whole),
            events=events,
            units=round(sum(row.total for row in here if row.metric.count(":") == 1)),
            last_at=min(now, end),
        )
    return found


async def forget_before(s: Session, moment: float) -> int:
    """Delete slots before `moment` (now minus `KEPT_S`); return how many."""
    old = and_(_between("w:"), flag_metric_counter.c.metric < _slot(moment))
    return int((await s.execute(delete(flag_metric_counter).where(old))).rowcount)


def _slot(at: float) -> str:
    return f"{SLOT_PREFIX}{int(at // SLOT_S):010d}"


def _end(metric: str) -> float:
    return (int(metric.split(":")[1]) + 1.0) * SLOT_S


def _between(first: str) -> ColumnElement[bool]:
    metric = flag_metric_counter.c.metric
    return and_(metric >= first, metric < END)
