"""Which workers run which version of the flags; a worker that is silent leaves the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import RowMapping, delete, select

from apps.core.storage.clock import database_now
from apps.core.storage.connections import Session, insert
from apps.core.storage.flag_tables import flag_worker_ack

SILENT_S = 15.0


@dataclass(frozen=True, slots=True)
class Ack:
    """A worker says which version it answers with, and what its environment vetoes.

    report: what else only it can see, as `flags/signs.py` writes it.
    """

    worker_id: str
    host: str
    version: int
    env_vetoes: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)


async def put(s: Session, ack: Ack) -> None:
    """Replace what the worker said before; never go back to an older version."""
    row = {
        "worker_id": ack.worker_id,
        "host": ack.host,
        "version": ack.version,
        "env_vetoes": list(ack.env_vetoes),
        "report": dict(ack.report),
        "at": database_now(s),
    }
    statement = insert(s, flag_worker_ack).values(row)
    newer = {name: statement.excluded[name] for name in row if name != "worker_id"}
    await s.execute(
        statement.on_conflict_do_update(
            index_elements=["worker_id"],
            set_=newer,
            where=statement.excluded.version >= flag_worker_ack.c.version,
        )
    )


async def live(s: Session, *, silent_s: float = SILENT_S) -> list[Ack]:
    """What every worker said that was heard of lately, by the database's clock."""
    heard = flag_worker_ack.c.at > database_now(s) - silent_s
    query = select(flag_worker_ack).where(heard).order_by(flag_worker_ack.c.worker_id)
    return [_ack(row) for row in (await s.execute(query)).mappings()]


async def silences(s: Session, *, heard_s: float, silent_s: float = SILENT_S) -> list[float]:
    """Workers that stopped without a word: seconds since each was heard, the latest first.

    Args:
        heard_s: only those that were heard within so many seconds.
    """
    age = (database_now(s) - flag_worker_ack.c.at).label("age")
    lately = flag_worker_ack.c.at > database_now(s) - heard_s
    gone = flag_worker_ack.c.at <= database_now(s) - silent_s
    query = select(age).where(lately, gone).order_by(age)
    return [float(row.age) for row in await s.execute(query)]


async def remove(s: Session, worker_id: str) -> None:
    """Take a worker that stops out of the list."""
    await s.execute(delete(flag_worker_ack).where(flag_worker_ack.c.worker_id == worker_id))


async def forget_silent(s: Session, *, silent_s: float) -> int:
    """Delete what workers said that are gone for good; return how many."""
    old = delete(flag_worker_ack).where(flag_worker_ack.c.at <= database_now(s) - silent_s)
    return int((await s.execute(old)).rowcount)


def _ack(row: RowMapping) -> Ack:
    values = {each.name: row[each.name] for each in fields(Ack)}
    vetoes, report = tuple(values["env_vetoes"]), values["report"] or {}
    return Ack(**{**values, "env_vetoes": vetoes, "report": report})
