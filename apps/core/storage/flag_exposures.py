"""A sample of the requests that reached a flagged node, kept for a week to look into."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, select

from apps.core.storage.connections import Session
from apps.core.storage.flag_tables import flag_exposure

KEPT_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Exposure:
    """A request at a flagged node; without rollout its share was set by hand."""

    id: str
    flag_key: str
    arm: str
    unit_hash: str
    request_id: str
    node: str
    at: float
    rollout_id: str | None = None
    epoch: int | None = None
    stage_idx: int | None = None


def exposure_row(exposure: Exposure) -> dict[str, object]:
    """Its row, for `storage.writer.put(flag_tables.flag_exposure, ...)`."""
    return {field.name: getattr(exposure, field.name) for field in fields(Exposure)}


async def listed(s: Session, flag_key: str, *, limit: int = 100) -> list[Exposure]:
    """The newest exposures of a flag."""
    mine = select(flag_exposure).where(flag_exposure.c.flag_key == flag_key)
    newest = mine.order_by(flag_exposure.c.at.desc(), flag_exposure.c.id).limit(limit)
    return [_exposure(row) for row in (await s.execute(newest)).mappings()]


@dataclass(frozen=True, slots=True)
class Seen:
    """Which sampled exposures are asked for: of one attempt, one arm, and since a moment."""

    rollout_id: str
    epoch: int
    arm: str
    since: float

    @property
    def where(self) -> ColumnElement[bool]:
        """As a condition."""
        return and_(
            flag_exposure.c.at >= self.since,
            flag_exposure.c.rollout_id == self.rollout_id,
            flag_exposure.c.epoch == self.epoch,
            flag_exposure.c.arm == self.arm,
        )


async def units(s: Session, seen: Seen, *, limit: int = 100_000) -> set[str]:
    """Different units of the sample; with a `limit` it stops looking when there are so many."""
    query = select(flag_exposure.c.unit_hash).where(seen.where).distinct().limit(limit)
    return set((await s.execute(query)).scalars())


async def last_at(s: Session, seen: Seen) -> float | None:
    """When the newest exposure was; None when there is none."""
    found = (await s.execute(select(func.max(flag_exposure.c.at)).where(seen.where))).scalar()
    return None if found is None else float(found)


async def forget_before(s: Session, moment: float) -> int:
    """Delete exposures before `moment` (now minus `KEPT_S`); return how many."""
    return int((await s.execute(delete(flag_exposure).where(flag_exposure.c.at < moment))).rowcount)


def _exposure(row: RowMapping) -> Exposure:
    return Exposure(**{field.name: row[field.name] for field in fields(Exposure)})
