"""Rows that are written behind the response: bounded, in few commits, never doubled.

One task takes what has gathered and commits it together, at 100 rows or after 200 ms. While the
database is away rows wait, up to the bound; what does not fit is dropped and counted, because a
full disk must not become a full memory. A commit whose outcome is unknown is repeated and finds
its rows already there, so every row must carry its primary key.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import structlog
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from apps.core.errors import StorageDown, SystemFailure
from apps.core.storage.connections import Session, insert
from apps.core.telemetry import metrics

Row = Mapping[str, object]
Waiting = tuple[Table, Row]

MOST_IN_A_COMMIT = 1000
RETRY_FIRST_S = 0.1
RETRY_MOST_S = 2.0
COMMIT_S = 5.0
# SQLAlchemy wraps what a driver calls an error; a lone surrogate or a number that is too large
# comes as Python's own.
Refusal = SQLAlchemyError | ValueError | TypeError | OverflowError
REFUSALS = (SQLAlchemyError, ValueError, TypeError, OverflowError)

log = structlog.get_logger(__name__)


class Sessions(Protocol):
    """Opens a unit of work; `Storage.session` does."""

    def __call__(self, *, within_s: float) -> AbstractAsyncContextManager[Session]:
        """As there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many rows may wait, and when those that wait are committed."""

    capacity: int = 5000
    group_rows: int = 100
    group_wait_s: float = 0.2


class RowWriter:
    """Takes rows without waiting; it lives in the loop in which it was started."""

    def __init__(self, sessions: Sessions, *, limits: Limits | None = None) -> None:
        self._sessions = sessions
        self._limits = limits or Limits()
        self._rows: deque[Waiting] = deque()
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._taken = 0  # rows ever accepted
        self._settled = 0  # of these, rows that are committed or refused
        self._refused = 0
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="row-writer")

    def put(self, table: Table, row: Row) -> bool:
        """Take a row; False when the queue is full and the row was dropped."""
        if self._taken - self._settled >= self._limits.capacity:
            metrics.writer_rows.of("dropped").inc()
            return False
        self._rows.append((table, row))
        self._taken += 1
        self._some.set()
        if len(self._rows) >= self._limits.group_rows:
            self._enough.set()
        return True

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until every row taken so far is committed.

        Raises:
            StorageDown: it did not happen in time; the rows stay in the queue.
            SystemFailure: the database refused a row.
        """
        if self._settled == self._taken:
            return
        refused_before = self._refused
        done = asyncio.get_running_loop().create_future()
        self._flushes.append((self._taken, done))
        self._enough.set()
        try:
            async with asyncio.timeout(timeout_s):
                await done
        except TimeoutError as error:
            raise StorageDown("Rows could not be written in time.", retry_after_s=1.0) from error
        if self._refused > refused_before:
            raise SystemFailure("The database refused a row.")

    async def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, then stop; what cannot be written in time is dropped and counted."""
        with contextlib.suppress(StorageDown, SystemFailure):
            await self.flush(timeout_s)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        lost = self._taken - self._settled
        if lost:
            metrics.writer_rows.of("dropped").inc(lost)
            log.error("rows.lost", rows=lost)

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            if len(self._rows) < self._limits.group_rows:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.group_wait_s):
                        await self._enough.wait()
            group = [self._rows.popleft() for _ in range(min(len(self._rows), MOST_IN_A_COMMIT))]
            if not self._rows:
                self._some.clear()
            if len(self._rows) < self._limits.group_rows:
                self._enough.clear()
            await self._commit(group)
            self._settle(len(group))

    def _settle(self, rows: int) -> None:
        self._settled += rows
        metrics.writer_waiting.set(self._taken - self._settled)
        waiting = []
        for upto, done in self._flushes:
            if upto > self._settled:
                waiting.append((upto, done))
            elif not done.done():
                done.set_result(None)
        self._flushes = waiting
        if waiting:
            self._enough.set()

    async def _commit(self, group: Sequence[Waiting]) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            try:
                await self._insert(group)
            except StorageDown:
                log.warning("rows.delayed", rows=len(group), pause_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MOST_S)
            except REFUSALS as error:
                if len(group) > 1:
                    # One bad row must not take the others with it.
                    for waiting in group:
                        await self._commit([waiting])
                    return
                self._refuse(group[0], error)
                return
            else:
                metrics.writer_rows.of("written").inc(len(group))
                return

    async def _insert(self, group: Sequence[Waiting]) -> None:
        async with self._sessions(within_s=COMMIT_S) as s:
            for _, like in groupby(group, key=_shape):
                rows = list(like)
                statement = insert(s, rows[0][0]).on_conflict_do_nothing()
                await s.execute(statement, [dict(row) for _, row in rows])

    def _refuse(self, waiting: Waiting, error: Refusal) -> None:
        self._refused += 1
        metrics.writer_rows.of("refused").inc()
        # The driver's message may quote the row, which is a user's text.
        log.error("row.refused", table=waiting[0].name, error=type(error).__name__)


def _shape(waiting: Waiting) -> tuple[str, tuple[str, ...]]:
    """What rows of one statement have in common."""
    table, row = waiting
    return table.name, tuple(row)
