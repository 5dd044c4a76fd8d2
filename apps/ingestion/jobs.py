"""Runs leased jobs one group after another, and keeps the leases while it does."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from apps.core.domain.ports import Clock
from apps.core.errors import DtRagError, StorageDown, SystemFailure
from apps.core.storage import jobs
from apps.core.storage.engine import Storage
from apps.core.storage.jobs import LEASE_S, Job
from apps.core.telemetry import metrics

HEARTBEAT_S = LEASE_S / 3
# Jobs of one kind that are due together are done together, with one publication.
JOBS_AT_ONCE = 16
RETRY_BASE_S, RETRY_CAP_S = 2.0, 300.0
KINDS = ("delete", "ingest", "embed")

Handler = Callable[[Sequence[Job]], Awaitable[None]]
log = structlog.get_logger(__name__)


def worker_name() -> str:
    """A name that tells host and process, and this process from a later one with its number."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


def dead(holders: Collection[str], me: str) -> list[str]:
    """Those holders that were processes of this host and live no more."""
    host, pid, _ = me.rsplit(":", 2)
    mine = [name for name in holders if name.rsplit(":", 2)[0] == host and name != me]
    return [name for name in mine if _is_gone(name.rsplit(":", 2)[1], pid)]


def _is_gone(pid: str, mine: str) -> bool:
    if pid == mine:
        return True  # our number, but an earlier process: a container always starts with the same
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return True
    except OSError:
        return False
    return False


class Runner:
    """Takes jobs that are due, gives them to the handler of their kind, and notes the end."""

    def __init__(
        self,
        storage: Storage,
        handlers: Mapping[str, Handler],
        *,
        clock: Clock,
        name: str | None = None,
    ) -> None:
        self.name = name or worker_name()
        self._storage = storage
        self._handlers = handlers
        self._clock = clock

    async def recover(self) -> None:
        """Free what processes of this host held when they died; give up what kills workers."""
        now = self._clock.now()
        async with self._storage.session() as s:
            await jobs.release_of(s, dead(await jobs.holders(s), self.name), now=now)
            await jobs.bury_lost(s, now=now)

    async def step(self, kinds: Collection[str] = KINDS) -> bool:
        """Do the jobs that are due of the first kind that has any; False when there are none."""
        for kind in (kind for kind in KINDS if kind in kinds and kind in self._handlers):
            taken = await self._lease(kind)
            if taken:
                await self.run(kind, taken)
                return True
        return False

    async def _lease(self, kind: str) -> list[Job]:
        now = self._clock.now()
        # Asked without the right to write first: idle workers must not hold up anybody.
        async with self._storage.reading() as s:
            due = await jobs.pending(s, (kind,))
        if due is None or due > now:
            return []
        async with self._storage.session() as s:
            limit = 1 if kind == "embed" else JOBS_AT_ONCE
            return await jobs.lease(s, self.name, kinds=(kind,), now=now, limit=limit)

    async def run(self, kind: str, taken: Sequence[Job]) -> bool:
        """Do jobs that this worker holds; False when they failed and are queued again or dead."""
        try:
            async with self._kept(taken):
                await self._handlers[kind](taken)
        except asyncio.CancelledError:
            await asyncio.shield(self._let_go(taken))
            raise
        # The gate around background work: a job that fails in any way must not stop the queue.
        except Exception as error:
            unknown = not isinstance(error, DtRagError | OSError)
            ids = [job.id for job in taken]
            log.warning("job.failed", kind=kind, ids=ids, why=describe(error)[1], exc_info=unknown)
            await self._put_back(taken, error)
            return False
        await self._finish(taken)
        return True

    @asynccontextmanager
    async def _kept(self, taken: Sequence[Job]) -> AsyncIterator[None]:
        beat = asyncio.create_task(self._beat([job.id for job in taken]))
        try:
            yield
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    async def _beat(self, job_ids: Collection[str]) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                async with self._storage.session() as s:
                    await jobs.heartbeat(s, self.name, job_ids, now=self._clock.now())
            except StorageDown:
                log.warning("job.heartbeat_missed", ids=list(job_ids))

    async def _finish(self, taken: Sequence[Job]) -> None:
        async with self._storage.session() as s:
            for job in taken:
                await jobs.finish(s, self.name, job.id, now=self._clock.now())
        for job in taken:
            metrics.jobs.of(job.kind, "done").inc()
            log.info("job.finished", kind=job.kind, id=job.id)

    async def _put_back(self, taken: Sequence[Job], error: Exception) -> None:
        reason = describe(error)
        now = self._clock.now()
        async with self._storage.session() as s:
            for job in taken:
                current = await jobs.get(s, job.id) or job
                later = now + retry_wait_s(current.attempts)
                await jobs.put_back(
                    s, self.name, current, error=reason, run_after_at=later, now=now
                )
                if current.attempts >= jobs.MAX_FAILURES:
                    metrics.jobs.of(job.kind, "failed").inc()

    async def _let_go(self, taken: Sequence[Job]) -> None:
        async with self._storage.session() as s:
            ids = [job.id for job in taken]
            await jobs.release(s, self.name, ids, now=self._clock.now())
        log.info("job.interrupted", ids=ids)


def retry_wait_s(attempts: int) -> float:
    """Pause after the n-th failed try in a row: 2, 4, 8 … s, at most 5 minutes."""
    return min(RETRY_CAP_S, RETRY_BASE_S * 2.0 ** (attempts - 1))


def describe(error: Exception) -> tuple[str, str]:
    """Code and sentence of a failure, without the data that an unknown one may carry."""
    if isinstance(error, DtRagError):
        return error.code, error.detail
    if isinstance(error, OSError):
        return SystemFailure.code, f"{type(error).__name__}: {error.strerror}"
    return SystemFailure.code, f"Unexpected {type(error).__name__}."
