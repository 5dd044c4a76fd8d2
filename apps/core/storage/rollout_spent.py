"""What requests of the control took, in the counters of an attempt, see `flags/spent.py`.

The metric `h:<limit>:<class>` counts in `n`; like the slots of the last moments it is no metric.
"""

from __future__ import annotations

from sqlalchemy import func, select

from apps.core.storage.connections import Session
from apps.core.storage.flag_tables import flag_metric_counter
from apps.core.storage.rollout_counts import CLASS_PREFIX, Cell


def class_cell(place: Cell, limit: str, of_class: int) -> Cell:
    """Where a request is counted that was in this class."""
    metric = f"{CLASS_PREFIX}{limit}:{of_class}"
    return Cell(place.rollout_id, place.epoch, place.stage_idx, metric, place.arm)


async def classes(
    s: Session, rollout_id: str, epoch: int, *, arm: str
) -> dict[str, dict[int, int]]:
    """Limit to class to requests of an arm, over the stages of an attempt."""
    c = flag_metric_counter.c
    query = (
        select(c.metric, func.sum(c.n))
        .where(
            c.rollout_id == rollout_id,
            c.epoch == epoch,
            c.arm == arm,
            c.metric.startswith(CLASS_PREFIX),
        )
        .group_by(c.metric)
    )
    found: dict[str, dict[int, int]] = {}
    for metric, n in await s.execute(query):
        limit, of_class = metric.removeprefix(CLASS_PREFIX).split(":")
        found.setdefault(limit, {})[int(of_class)] = int(n)
    return found
