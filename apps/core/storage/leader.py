"""One controller among all workers: a lock that dies with its holder.

PostgreSQL: an advisory lock of a connection of its own, released by the server when the
connection is lost. SQLite: a lease of five seconds, compared by the database's clock. Either may
for a moment have two who believe they lead; the compare-and-set of `rollout_moves` is what
makes a decision single.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

from sqlalchemy import and_, delete, or_

from apps.core.errors import StorageDown
from apps.core.storage.clock import database_now
from apps.core.storage.connections import insert
from apps.core.storage.engine import Storage
from apps.core.storage.flag_tables import flag_leader

LEASE_S = 5.0
HOLD_S = 2.0


class Leader(Protocol):
    """A claim to lead, to be renewed each second."""

    async def hold(self) -> bool:
        """Take or keep the lead; False when another has it or the database is away."""

    async def release(self) -> None:
        """Give the lead up at once."""


def leader_of(storage: Storage, holder: str) -> Leader:
    """The claim of the worker `holder` (at most 80 characters, unique among workers)."""
    if storage.embedded:
        return LeaseLeader(storage, holder)
    # Imported late: SQLite needs no PostgreSQL driver.
    from apps.core.storage.postgres_leader import LockLeader  # noqa: PLC0415

    return LockLeader(storage.url)


class LeaseLeader:
    """SQLite: one row says who leads until when."""

    def __init__(self, storage: Storage, holder: str) -> None:
        self._storage = storage
        self._holder = holder

    async def hold(self) -> bool:
        """Take or prolong the lease."""
        try:
            async with self._storage.session(within_s=HOLD_S, alone=True) as s:
                now = database_now(s)
                row = {"id": 1, "holder": self._holder, "lease_until": now + LEASE_S}
                statement = insert(s, flag_leader).values(row)
                free = or_(flag_leader.c.holder == self._holder, flag_leader.c.lease_until <= now)
                newer = {name: statement.excluded[name] for name in ("holder", "lease_until")}
                taken = await s.execute(
                    statement.on_conflict_do_update(index_elements=["id"], set_=newer, where=free)
                )
                return bool(taken.rowcount)
        except StorageDown:
            return False

    async def release(self) -> None:
        """End the lease if it is held."""
        mine = and_(flag_leader.c.id == 1, flag_leader.c.holder == self._holder)
        with contextlib.suppress(StorageDown):
            async with self._storage.session() as s:
                await s.execute(delete(flag_leader).where(mine))
