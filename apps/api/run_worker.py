"""The worker of runs that nobody waits for: leases them, makes them, keeps what they tell.

Nobody is shown a frame before it is committed. So a worker may die at any moment, and who takes
the run over knows everything that a reader can have seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

import orjson
import structlog

from apps.api import sse
from apps.api.frozen import thawed
from apps.api.ports import Answerer
from apps.api.runs import Run
from apps.core.domain.models import AnswerRecord
from apps.core.domain.ports import Clock
from apps.core.errors import StorageDown
from apps.core.storage import jobs, runs
from apps.core.storage.changes import Watch
from apps.core.storage.engine import Storage
from apps.core.storage.jobs import ANSWER, LEASE_S, Job
from apps.core.storage.runs import KEPT_S, TOPIC, End, Told
from apps.core.telemetry import metrics
from apps.ingestion.jobs import dead, worker_name

# Each waits for a model most of the time; more would keep streams and searches waiting.
AT_ONCE = 8
TEND_S = 0.25
BEAT_S = LEASE_S / 3
LOOK_S = 5.0
TIDY_S = 60.0
RETRY_S = 0.5
T = TypeVar("T")
log = structlog.get_logger(__name__)


class RunWorker:
    """Makes up to `AT_ONCE` runs at a time in this process."""

    def __init__(
        self, storage: Storage, watch: Watch, clock: Clock, *, name: str | None = None
    ) -> None:
        self.name = name or worker_name()
        self._storage = storage
        self._watch = watch
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._moved: dict[str, asyncio.Event] = {}
        self._news = asyncio.Event()
        self._version = -1
        self._missed = False
        self._beat_s = self._looked_s = self._tidied_s = clock.monotonic()

    def wake(self) -> None:
        """Look for runs now."""
        self._version = -1
        self._news.set()

    def stop(self, run_id: str) -> None:
        """Stop making a run, if it is made here; its lease must be gone, or it is queued again."""
        if run_id in self._tasks:
            self._tasks[run_id].cancel()

    def moved(self, run_id: str) -> asyncio.Event | None:
        """Set when the run has told more than before this call; None when it is made elsewhere."""
        return self._moved.get(run_id)

    async def work(self, answerer: Answerer) -> None:
        """Make runs until cancelled; then those that go on are given back."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                try:
                    await _to_its_end(self._tend(group, answerer))
                except StorageDown as error:
                    log.warning("runs.storage_down", error=error.detail)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TEND_S):
                        await self._news.wait()

    async def _tend(self, group: asyncio.TaskGroup, answerer: Answerer) -> None:
        version, now_s = self._watch.version(TOPIC), self._clock.monotonic()
        changed = version != self._version or self._missed
        self._missed = False
        if changed or now_s - self._beat_s >= BEAT_S:
            await self._beat()
            self._beat_s = now_s
        if changed or now_s - self._looked_s >= LOOK_S:
            for taken in await self._take():
                self._moved[taken.id] = asyncio.Event()
                self._tasks[taken.id] = group.create_task(self._make(taken, answerer))
            self._looked_s = now_s
        if now_s - self._tidied_s >= TIDY_S:
            async with self._storage.session() as s:
                await runs.forget_before(s, self._clock.now() - KEPT_S)
            self._tidied_s = now_s
        # Not before all went well, and not when somebody has woken us meanwhile.
        if not self._news.is_set():
            self._version = version

    async def _beat(self) -> None:
        """Prolong the leases, and stop what was cancelled or is another's now."""
        if not self._tasks:
            return
        async with self._storage.session() as s:
            mine = await jobs.heartbeat(s, self.name, list(self._tasks), now=self._clock.now())
        for run_id in self._tasks.keys() - mine:
            self.stop(run_id)

    async def _take(self) -> Sequence[Job]:
        room, now = AT_ONCE - len(self._tasks), self._clock.now()
        if room <= 0:
            return ()
        # Asked without the right to write first: idle workers must not hold up anybody.
        async with self._storage.reading() as s:
            gone = dead(await jobs.holders(s), self.name)
            due = await jobs.pending(s, (ANSWER,))
        if not gone and (due is None or due > now):
            return ()
        async with self._storage.session() as s:
            if gone:
                await jobs.release_of(s, gone, now=now)
            taken = await jobs.lease(s, self.name, kinds=(ANSWER,), now=now, limit=room)
        # A reader's lock may have hidden a run that is due; the next turn looks again.
        self._missed = not taken
        return taken

    async def _make(self, job: Job, answerer: Answerer) -> None:
        try:
            await self._made(job, answerer)
        except asyncio.CancelledError:
            await asyncio.shield(self._let_go(job.id))
            raise
        # The gate around one run: the others go on, and this one is tried again.
        except Exception:
            log.exception("run.not_kept", run_id=job.id)
        finally:
            del self._tasks[job.id]
            self._moved.pop(job.id).set()
            self.wake()

    async def _made(self, job: Job, answerer: Answerer) -> None:
        told = await self._patiently(partial(self._begin, job.id))
        if told is None:
            return
        asked = thawed(job.payload)
        run = Run(job.id, owner="")
        run.restore([frame.encode() for frame in told])
        events = answerer.stream(asked, answer_id=job.id)
        filling = asyncio.create_task(run.fill(events, request_id=asked.request_id, ended=_ignore))
        try:
            after = len(told)
            async for fresh in run.batches(after):
                if fresh and not await self._patiently(partial(self._keep, job.id, after, fresh)):
                    return
                after += len(fresh)
        finally:
            filling.cancel()
            (failure,) = await asyncio.gather(filling, return_exceptions=True)
            if isinstance(failure, Exception):
                log.error("run.surprised", run_id=job.id, exc_info=failure)

    async def _begin(self, run_id: str) -> list[str] | None:
        async with self._storage.session() as s:
            return await runs.begin(s, self.name, run_id)

    async def _keep(self, run_id: str, after: int, fresh: Sequence[bytes]) -> bool:
        end = _end(fresh[-1])
        told = Told(run_id, after, [frame.decode() for frame in fresh], end)
        async with self._storage.session() as s:
            kept = await runs.add(s, self.name, told, now=self._clock.now())
        if kept:
            moved, self._moved[run_id] = self._moved[run_id], asyncio.Event()
            moved.set()
            if end is not None:
                metrics.jobs.of(ANSWER, end.state).inc()
        return kept

    async def _patiently(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        while True:
            try:
                return await _to_its_end(work())
            except StorageDown:
                await asyncio.sleep(RETRY_S)

    async def _let_go(self, run_id: str) -> None:
        try:
            async with self._storage.session() as s:
                await runs.let_go(s, self.name, run_id, now=self._clock.now())
        except StorageDown:
            log.warning("run.not_let_go", run_id=run_id)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Do not break off what talks to the database: its connection would be lost with it."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


async def _ignore(_record: AnswerRecord | None) -> None:
    """Nobody else waits for the end."""


def _end(frame: bytes) -> End | None:
    name, body = sse.told(frame)
    if name not in sse.TERMINAL:
        return None
    if name == "complete":
        return End("done")
    problem = orjson.loads(body)
    return End("failed", problem["code"], problem["detail"])
