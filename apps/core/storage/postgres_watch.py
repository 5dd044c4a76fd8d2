"""The change watch of PostgreSQL: one connection of its own that listens and polls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from apps.core.errors import StorageDown
from apps.core.storage.changes import CHANNEL
from apps.core.storage.connections import driver_url

POLL_S = 0.2
ANSWER_TIMEOUT_S = 2.0
OUTAGES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class PostgresWatch:
    """Knows the versions at most `POLL_S` late, and usually within milliseconds."""

    def __init__(self, url: URL) -> None:
        self._url = driver_url(url)
        self._versions: dict[str, int] = {}
        self._confirmed_at = time.monotonic()
        self._notified = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, url: URL) -> PostgresWatch:
        """Read the versions once if the server answers, then keep watching."""
        watch = cls(url)
        with contextlib.suppress(StorageDown):
            await watch.refresh()
        watch._task = asyncio.create_task(watch._run(), name="change-watch")
        return watch

    def version(self, topic: str) -> int:
        """The version of `topic` as it was last read."""
        return self._versions.get(topic, 0)

    def age_s(self) -> float:
        """Seconds since the server last answered."""
        return time.monotonic() - self._confirmed_at

    async def refresh(self) -> None:
        """Read the versions now.

        Raises:
            StorageDown: the server does not answer.
        """
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._read()
            except (TimeoutError, *OUTAGES) as error:
                self._let_go()
                raise StorageDown("The database does not answer.") from error

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None:
            with contextlib.suppress(TimeoutError, *OUTAGES):
                await self._connection.close(timeout=ANSWER_TIMEOUT_S)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._notified.wait()
            self._notified.clear()
            with contextlib.suppress(StorageDown):
                await self.refresh()

    async def _read(self) -> None:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url)
            await self._connection.add_listener(CHANNEL, self._heard)
        rows = await self._connection.fetch("SELECT topic, version FROM change")
        self._versions = {row["topic"]: row["version"] for row in rows}
        self._confirmed_at = time.monotonic()

    def _heard(self, *_notification: object) -> None:
        self._notified.set()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
