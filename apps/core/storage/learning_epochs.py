"""The attempts of every rollout, and whether what was learned in them counts.

Rows that the product learns carry `(flag_key, rollout_id, epoch, arm)`. Readers fold only those
whose epoch is accepted, so a rollback takes everything back by changing one row.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import and_, func, select, update

from apps.core.storage.connections import Session
from apps.core.storage.flag_tables import learning_epoch

EpochState = Literal["running", "accepted", "quarantined"]


async def begin(
    s: Session, rollout_id: str, epoch: int, *, flag_key: str, alpha: float, now: float
) -> None:
    """Open an attempt; `alpha` is the chance of a false rollback that it may spend."""
    await s.execute(
        learning_epoch.insert().values(
            rollout_id=rollout_id,
            epoch=epoch,
            flag_key=flag_key,
            state="running",
            alpha=alpha,
            started_at=now,
            at=now,
        )
    )


async def end(s: Session, rollout_id: str, epoch: int, *, state: EpochState, now: float) -> bool:
    """Accept or quarantine a running attempt; False when that was decided before."""
    running = and_(
        learning_epoch.c.rollout_id == rollout_id,
        learning_epoch.c.epoch == epoch,
        learning_epoch.c.state == "running",
    )
    result = await s.execute(update(learning_epoch).where(running).values(state=state, at=now))
    return bool(result.rowcount)


async def states(s: Session, flag_key: str) -> dict[tuple[str, int], EpochState]:
    """The state of each attempt of a flag, by rollout and epoch."""
    rows = await s.execute(select(learning_epoch).where(learning_epoch.c.flag_key == flag_key))
    return {(row.rollout_id, row.epoch): row.state for row in rows}


async def alpha_spent(s: Session, flag_key: str, *, since: float) -> float:
    """The sum of `alpha` over the attempts of a flag that began at `since` or later."""
    spent = select(func.coalesce(func.sum(learning_epoch.c.alpha), 0.0)).where(
        learning_epoch.c.flag_key == flag_key, learning_epoch.c.started_at >= since
    )
    return float((await s.execute(spent)).scalar_one())
