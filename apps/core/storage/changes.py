"""Who changed what, as one number a topic, and how every process notices at once.

Each change bumps its topic's version in its own transaction. On SQLite a process asks the file
itself, before every request, in microseconds; on PostgreSQL one connection listens for
notifications and reads the versions five times a second, because a notification has no replay.
While the database is away the last known versions stay in force.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Mapping
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.engine import URL

from apps.core.storage.connections import Session, insert
from apps.core.storage.tables import change
from apps.core.turns import EachTurn

CHANNEL = "dtrag_change"
# A request must not wait for a lock; the next one asks again.
BUSY_TIMEOUT_S = 0.05


async def bump(s: Session, topic: str) -> int:
    """Count one change of `topic` and return its new version; call it last in the transaction."""
    statement = insert(s, change).values(topic=topic, version=1)
    result = await s.execute(
        statement.on_conflict_do_update(
            index_elements=[change.c.topic], set_={"version": change.c.version + 1}
        ).returning(change.c.version)
    )
    if s.dialect.name == "postgresql":
        await s.execute(select(func.pg_notify(CHANNEL, topic)))
    return int(result.scalar_one())


class Watch(Protocol):
    """The versions of all topics as this process knows them now."""

    def version(self, topic: str) -> int:
        """The version of `topic`, 0 when it never changed; microseconds, no waiting."""

    def age_s(self) -> float:
        """Seconds since the database last confirmed the versions."""

    async def refresh(self) -> None:
        """Learn of every change that was committed before this call."""

    async def close(self) -> None:
        """Let go of the connection."""


async def open_watch(url: URL) -> Watch:
    """A watch over the database at `url`; it must be migrated."""
    if url.get_backend_name() == "sqlite":
        return SqliteWatch(url.database or "")
    # Imported late: SQLite needs no PostgreSQL driver.
    from apps.core.storage.postgres_watch import PostgresWatch  # noqa: PLC0415

    return await PostgresWatch.open(url)


class SqliteWatch:
    """Asks the file once a turn; `PRAGMA data_version` moves when another connection commits."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA query_only = 1")
        self._seen = -1
        self._versions: dict[str, int] = {}
        self._confirmed_at = time.monotonic()
        self._newest = EachTurn(self._ask)

    def version(self, topic: str) -> int:
        """The version of `topic`, from the file if it changed."""
        return self._newest().get(topic, 0)

    def _ask(self) -> Mapping[str, int]:
        with contextlib.suppress(sqlite3.OperationalError):
            (seen,) = self._connection.execute("PRAGMA data_version").fetchone()
            if seen != self._seen:
                rows = self._connection.execute("SELECT topic, version FROM change").fetchall()
                self._versions = dict(rows)
                self._seen = seen
            self._confirmed_at = time.monotonic()
        return self._versions

    def age_s(self) -> float:
        """Seconds since the file last answered."""
        return time.monotonic() - self._confirmed_at

    async def refresh(self) -> None:
        """Have the next question go to the file."""
        self._newest.forget()

    async def close(self) -> None:
        """Close the file."""
        self._connection.close()
