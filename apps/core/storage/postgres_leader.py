"""The leader's lock of PostgreSQL: it lives as long as one connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from apps.core.storage.connections import driver_url
from apps.core.storage.postgres_watch import ANSWER_TIMEOUT_S, OUTAGES

# Any constant, other than the lock of the migrations.
ADVISORY_LOCK = 0x64747262
# A leader speaks each second; one that is silent for so long leads no more.
IDLE_S = 10.0


class LockLeader:
    """An advisory lock of a session, so never through a transaction-mode pooler."""

    def __init__(self, url: URL) -> None:
        self._url = driver_url(url)
        self._connection: Any = None
        self._leads = False

    async def hold(self) -> bool:
        """Take the lock, or make sure that the connection which has it still lives."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                self._leads = await self._ask()
        except (TimeoutError, *OUTAGES):
            self._let_go()
        return self._leads

    async def release(self) -> None:
        """Close the connection, which frees the lock."""
        if self._connection is not None:
            with contextlib.suppress(TimeoutError, *OUTAGES):
                await self._connection.close(timeout=ANSWER_TIMEOUT_S)
        self._let_go()

    async def _ask(self) -> bool:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url)
            # Where the server does not learn that this connection broke, it would keep the lock
            # until TCP gives up. PostgreSQL 13 does not know the setting.
            await self._connection.execute(
                "SELECT set_config(name, $1, false) FROM pg_settings WHERE name = $2",
                f"{IDLE_S:.0f}s", "idle_session_timeout",
            )  # fmt: skip
        if self._leads:
            # Taking the lock again would count it twice; that the session answers is enough.
            return bool(await self._connection.fetchval("SELECT true"))
        taken = await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK)
        return bool(taken)

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection, self._leads = None, False
