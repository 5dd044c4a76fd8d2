"""The door to the database of one process: units of work, and rows written behind the response."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from apps.core.settings import Settings
from apps.core.storage.connections import (
    Insert,
    Session,
    insert,
    postgresql_engine,
    sqlite_engine,
    unit,
)
from apps.core.storage.writer import RowWriter

__all__ = ["Insert", "Session", "Storage", "insert"]

POOL_TIMEOUT_S = 10.0
PING_TIMEOUT_S = 2.0


class Storage:
    """The database of one process; `open` neither migrates nor connects."""

    def __init__(self, url: URL, writing: AsyncEngine, reading: AsyncEngine) -> None:
        self.url = url
        self.writer = RowWriter(self.session)
        self._writing = writing
        self._reading = reading

    @classmethod
    async def open(cls, settings: Settings) -> Storage:
        """Make the pools and start the row writer; the first unit of work connects."""
        storage = cls._with_pools(settings)
        storage.writer.start()
        return storage

    @classmethod
    def _with_pools(cls, settings: Settings) -> Storage:
        url = make_url(settings.database_url)
        wait_s = min(POOL_TIMEOUT_S, settings.REQUEST_TIMEOUT_S / 2)
        if url.get_backend_name() == "sqlite":
            Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
            synchronous = settings.SQLITE_SYNCHRONOUS
            writing = sqlite_engine(url, synchronous=synchronous, size=1, overflow=0, wait_s=wait_s)
            reading = sqlite_engine(
                url,
                synchronous=synchronous,
                size=settings.DB_POOL_SIZE,
                overflow=settings.DB_MAX_OVERFLOW,
                wait_s=wait_s,
                read_only=True,
            )
            return cls(url, writing, reading)
        pool = postgresql_engine(
            url,
            size=settings.DB_POOL_SIZE,
            overflow=settings.DB_MAX_OVERFLOW,
            wait_s=wait_s,
        )
        reading = pool.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        return cls(url, pool, reading)

    @property
    def embedded(self) -> bool:
        """Whether the database is a SQLite file of this host."""
        return self.url.get_backend_name() == "sqlite"

    @asynccontextmanager
    async def session(
        self, *, within_s: float | None = None, alone: bool = False
    ) -> AsyncIterator[Session]:
        """One unit of work: commits at normal exit, rolls back otherwise. Never nest two.

        Args:
            within_s: all of it must be done by then, for work that somebody waits for.
            alone: it is a single statement, see `unit`.

        Raises:
            StorageDown: the database is away, full, locked for too long, or too slow; nothing
                was kept, unless the connection broke during the commit itself.
        """
        async with unit(self._writing, within_s=within_s, alone=alone) as connection:
            yield connection

    @asynccontextmanager
    async def reading(self, *, within_s: float | None = None) -> AsyncIterator[Session]:
        """One unit of work that only reads and sees one state; it never waits for writers.

        Args:
            within_s: as for `session`.

        Raises:
            StorageDown: the database is away or too slow.
        """
        async with unit(self._reading, within_s=within_s) as connection:
            yield connection

    async def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            StorageDown: none came within 2 s.
        """
        async with self.reading(within_s=PING_TIMEOUT_S) as s:
            await s.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Write what waits, then close all connections."""
        await self.writer.close()
        await self._writing.dispose()
        if self.embedded:
            await self._reading.dispose()
