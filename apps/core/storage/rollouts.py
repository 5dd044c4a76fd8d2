"""Rollouts as rows: made as a draft, read, listed; `rollout_moves.py` moves them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from sqlalchemy import RowMapping, and_, func, or_, select

from apps.core.storage import flag_versions
from apps.core.storage.connections import Session
from apps.core.storage.flag_audit import Cause
from apps.core.storage.flag_tables import flag_rollout

Kind = Literal["rollout", "experiment"]
State = Literal["DRAFT", "RUNNING", "HELD", "ROLLED_BACK", "COMPLETED", "KILLED"]

FIRST_EPOCH = 1
ACTIVE: tuple[State, ...] = ("RUNNING", "HELD")
BUCKET_BY = ("user_id", "session_id", "request_id")
# What an audit row shows of a rollout.
AUDITED = (
    *("id", "kind", "state", "stage_idx", "percent", "epoch", "stages", "holdback", "arms"),
    *("bucket_by", "salt", "policy", "hold_reason"),
)
LISTS = ("bucket_by", "stages")
# In `last_human_action`: a person has decided anew after the end, so the rollout serves no more.
SUPERSEDED = "SUPERSEDED"
# Likewise: a person, or an alarm, has asked for a rollback that the controller is to do.
TRIGGERED = "TRIGGERED"


@dataclass(frozen=True, slots=True)
class RolloutWish:
    """A ladder for one flag; `stages` and `holdback` in percent, `arms` only for experiments."""

    flag_key: str
    stages: tuple[float, ...]
    salt: str
    kind: Kind = "rollout"
    arms: Mapping[str, int] | None = None
    bucket_by: tuple[str, ...] = BUCKET_BY
    holdback: float = 0.0
    policy: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as it was read; `epoch` is its running attempt, or the next one to start.

    Fields:
        percent: of the present stage, 0 unless RUNNING, HELD or COMPLETED; the holdback is not
            taken off.
        tau: limits frozen at the start of the stage, by metric.
        version: grows with every change of the row.
    """

    id: str
    flag_key: str
    kind: Kind
    arms: Mapping[str, int] | None
    salt: str
    bucket_by: tuple[str, ...]
    stages: tuple[float, ...]
    stage_idx: int
    percent: float
    holdback: float
    state: State
    policy: Mapping[str, Any]
    epoch: int
    started_at: float | None
    stage_started_at: float | None
    tau: Mapping[str, Any] | None
    hold_reason: str | None
    last_human_action: Mapping[str, Any] | None
    version: int
    created_at: float
    updated_at: float


async def create(s: Session, wish: RolloutWish, *, cause: Cause) -> Rollout:
    """Store a draft; it changes no answer until it is started."""
    await flag_versions.lock(s)
    row = {
        "id": f"ro_{secrets.token_hex(8)}",
        "flag_key": wish.flag_key,
        "kind": wish.kind,
        "arms": dict(wish.arms) if wish.arms is not None else None,
        "salt": wish.salt,
        "bucket_by": list(wish.bucket_by),
        "stages": list(wish.stages),
        "stage_idx": 0,
        "percent": 0.0,
        "holdback": wish.holdback,
        "state": "DRAFT",
        "policy": dict(wish.policy or {}),
        "epoch": FIRST_EPOCH,
        "version": 1,
        "created_at": cause.at,
        "updated_at": cause.at,
    }
    made = await s.execute(flag_rollout.insert().values(row).returning(flag_rollout))
    rollout = from_row(made.mappings().one())
    await flag_versions.changed(
        s, cause, flag_key=wish.flag_key, before=None, after=audited(rollout)
    )
    return rollout


async def find(s: Session, rollout_id: str) -> Rollout | None:
    """A rollout, None when there is none of this id."""
    rows = await s.execute(select(flag_rollout).where(flag_rollout.c.id == rollout_id))
    row = rows.mappings().first()
    return from_row(row) if row else None


async def listed(
    s: Session,
    *,
    flag_key: str | None = None,
    states: tuple[State, ...] | None = None,
    after: Rollout | None = None,
    limit: int = 100,
) -> list[Rollout]:
    """Rollouts, the newest first; `after` is the last one seen."""
    query = select(flag_rollout)
    if flag_key is not None:
        query = query.where(flag_rollout.c.flag_key == flag_key)
    if states is not None:
        query = query.where(flag_rollout.c.state.in_(states))
    if after is not None:
        older = flag_rollout.c.created_at < after.created_at
        same = and_(flag_rollout.c.created_at == after.created_at, flag_rollout.c.id > after.id)
        query = query.where(or_(older, same))
    newest = query.order_by(flag_rollout.c.created_at.desc(), flag_rollout.c.id).limit(limit)
    return [from_row(row) for row in (await s.execute(newest)).mappings()]


async def active(s: Session, flag_key: str) -> Rollout | None:
    """The rollout of a flag that is running or held; there is at most one."""
    query = select(flag_rollout).where(
        flag_rollout.c.flag_key == flag_key, flag_rollout.c.state.in_(ACTIVE)
    )
    row = (await s.execute(query)).mappings().first()
    return from_row(row) if row else None


async def current(s: Session) -> list[Rollout]:
    """For each flag the rollout that was started last, in the order of the flags.

    No drafts, and none after whose end a person has decided about the flag again.
    """
    place = func.row_number().over(
        partition_by=flag_rollout.c.flag_key,
        order_by=(flag_rollout.c.started_at.desc(), flag_rollout.c.id),
    )
    started = flag_rollout.c.started_at.is_not(None)
    ranked = select(flag_rollout.c.id, place.label("place")).where(started).subquery()
    newest = select(ranked.c.id).where(ranked.c.place == 1)
    query = select(flag_rollout).where(flag_rollout.c.id.in_(newest))
    rows = (await s.execute(query.order_by(flag_rollout.c.flag_key))).mappings()
    return [each for each in map(from_row, rows) if not _superseded(each)]


def _superseded(rollout: Rollout) -> bool:
    return (rollout.last_human_action or {}).get("state") == SUPERSEDED


def audited(rollout: Rollout) -> dict[str, object]:
    """What an audit row shows of a rollout."""
    return {name: getattr(rollout, name) for name in AUDITED}


def from_row(row: RowMapping) -> Rollout:
    """The rollout that a row holds."""
    values = {field.name: row[field.name] for field in fields(Rollout)}
    for name in LISTS:
        values[name] = tuple(values[name])  # JSON has no tuples
    return Rollout(**values)
