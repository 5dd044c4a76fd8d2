"""What the service did lately, for whoever plans a rollout."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select

from apps.core.storage.connections import Session
from apps.core.storage.flag_tables import flag_metric_counter, flag_rollout
from apps.core.storage.rollout_counts import Tally
from apps.core.storage.tables import answer, feedback


@dataclass(frozen=True, slots=True)
class Made:
    """Answers since a moment; `first_at` is None without any."""

    answers: int
    first_at: float | None
    complaints: int


async def made(s: Session, *, since: float) -> Made:
    """How many answers there were, since when, and on how many somebody frowned."""
    counted = select(func.count(), func.min(answer.c.created_at)).where(
        answer.c.created_at >= since
    )
    bad = func.max(case((feedback.c.reward < 0, 1), else_=0))
    judged = (
        select(bad.label("bad"))
        .where(feedback.c.created_at >= since)
        .group_by(feedback.c.answer_id)
    ).subquery()
    answers, first_at = (await s.execute(counted)).one()
    complaints = (await s.execute(select(func.sum(judged.c.bad)))).scalar()
    return Made(int(answers), first_at, int(complaints or 0))


async def control(s: Session, *, since: float, arm: str) -> dict[str, Tally]:
    """Metric to what the control of rollouts counted that were under way since a moment."""
    c = flag_metric_counter.c
    query = (
        select(c.metric, func.sum(c.n), func.sum(c.total), func.sum(c.total_sq))
        .join(flag_rollout, flag_rollout.c.id == c.rollout_id)
        .where(c.arm == arm, ~c.metric.contains(":"), flag_rollout.c.updated_at >= since)
        .group_by(c.metric)
    )
    return {
        metric: Tally(n=int(n), total=float(total), total_sq=float(total_sq))
        for metric, n, total, total_sq in await s.execute(query)
    }
