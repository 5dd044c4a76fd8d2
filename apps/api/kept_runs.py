"""Runs that go on without their caller: accepted, looked at, followed and cancelled, over SQL."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from apps.api import sse
from apps.api.frozen import frozen
from apps.api.ports import Answerer
from apps.api.run_ports import RunView
from apps.api.run_worker import RunWorker
from apps.core.domain.models import AnswerRequest, Caller
from apps.core.domain.ports import Clock
from apps.core.errors import (
    BusinessFailure,
    DtRagError,
    LimitReached,
    NotFound,
    StorageDown,
    SystemFailure,
)
from apps.core.storage import runs
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.jobs import ANSWER
from apps.core.storage.runs import KeptRun
from apps.core.telemetry import metrics

MOST_WAITING = 1000
ACCEPT_S = 5.0
FULL_RETRY_S = 5.0
# How long a reader waits for a word from another worker, and from this one.
ELSEWHERE_S, HERE_S = 0.25, 2.0


class SqlRuns:
    """The runs of every worker; implements `run_ports.KeptRuns`."""

    def __init__(self, storage: Storage, worker: RunWorker, clock: Clock, *, pepper: bytes) -> None:
        self._storage = storage
        self._worker = worker
        self._clock = clock
        self._pepper = pepper

    async def work(self, answerer: Answerer) -> None:
        """Make runs in this process until cancelled."""
        await self._worker.work(answerer)

    async def accept(self, asked: AnswerRequest) -> str:
        """Queue and commit; the id is also that of the answer to come."""
        run_id = secrets.token_hex(16)
        kept = frozen(asked, pepper=self._pepper)
        async with self._storage.session(within_s=ACCEPT_S) as s:
            if await runs.waiting(s) >= MOST_WAITING:
                raise LimitReached("Too many runs wait already.", retry_after_s=FULL_RETRY_S)
            await runs.accept(s, run_id, kept, now=self._clock.now())
        self._worker.wake()
        return run_id

    async def view(self, run_id: str, caller: Caller) -> RunView:
        """How far it is, from one state of the database."""
        async with self._storage.reading() as s:
            run = await self._mine(s, run_id, caller)
            return _view(run, await _told(s, run))

    async def cancel(self, run_id: str, caller: Caller) -> RunView:
        """End it in the database, which every worker is told of."""
        while not await self._cancelled(run_id, caller):
            # It has told more in the very moment.
            continue
        self._worker.stop(run_id)
        return await self.view(run_id, caller)

    async def _cancelled(self, run_id: str, caller: Caller) -> bool:
        async with self._storage.session() as s:
            run = await self._mine(s, run_id, caller)
            if run.over:
                return True
            frame = _error(run, await runs.frames(s, run_id), BusinessFailure(CANCELLED))
            if not await runs.cancel(s, run, frame, now=self._clock.now()):
                return False
        metrics.jobs.of(ANSWER, "cancelled").inc()
        return True

    async def follow(self, run_id: str, caller: Caller, *, after: int) -> AsyncIterator[bytes]:
        """Its events; from now on a takeover holds to what it has told."""
        async with self._storage.reading() as s:
            run = await self._mine(s, run_id, caller)
        if not run.over:
            async with self._storage.session() as s:
                await runs.note_reader(s, run_id)
        return self._events(run_id, after)

    async def _events(self, run_id: str, after: int) -> AsyncIterator[bytes]:
        spoke_s = self._clock.monotonic()
        while True:
            # Taken before the look: what is told after the look is not missed.
            moved = self._worker.moved(run_id)
            fresh, over = await self._news(run_id, after)
            if fresh:
                after += len(fresh)
                spoke_s = self._clock.monotonic()
                yield "".join(fresh).encode()
            if over:
                return
            if self._clock.monotonic() - spoke_s >= sse.HEARTBEAT_S:
                spoke_s = self._clock.monotonic()
                yield sse.HEARTBEAT
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ELSEWHERE_S if moved is None else HERE_S):
                    await (moved or asyncio.Event()).wait()

    async def _news(self, run_id: str, after: int) -> tuple[Sequence[str], bool]:
        """What a reader has not seen, and whether that is all; nothing during an outage."""
        try:
            async with self._storage.reading() as s:
                run = await runs.get(s, run_id, now=self._clock.now())
                if run is None:
                    return (), True
                if run.over:
                    return (await _told(s, run))[after:], True
                return await runs.frames(s, run_id, after=after), False
        except StorageDown:
            return (), False

    async def _mine(self, s: Session, run_id: str, caller: Caller) -> KeptRun:
        run = await runs.get(s, run_id, now=self._clock.now())
        if run is None or not (run.payload["key_id"] == caller.key_id or caller.may("admin")):
            raise NotFound(NO_RUN)
        return run


CANCELLED = "The run was cancelled."
NO_RUN = (
    "There is no such run, or it ended over five minutes ago; the answer of a run stays at "
    "/api/v1/answers/{run_id}."
)


async def _told(s: Session, run: KeptRun) -> list[str]:
    """Everything that a run has told; of one that is over the last frame is terminal."""
    told = await runs.frames(s, run.id)
    if run.over and not (told and _parsed(told[-1])[0] in sse.TERMINAL):
        # It was given up because it killed every worker that tried.
        told.append(_error(run, told, SystemFailure(run.error or "The run was given up.")))
    return told


def _view(run: KeptRun, told: Sequence[str]) -> RunView:
    events = [_parsed(frame) for frame in told]
    last = events[-1][1] if run.over else None
    done = run.state == "done"
    return RunView(
        run.id,
        run.state,
        [body for name, body in events if name == "progress"],
        last if done else None,
        None if done else last,
        run.created_at,
        run.updated_at,
    )


def _error(run: KeptRun, told: Sequence[str], error: DtRagError) -> str:
    events = [_parsed(frame) for frame in told]
    text = "".join(body["text"] for name, body in events if name == "data")
    body = sse.failure(error, request_id=run.payload["request_id"], partial=text)
    return sse.frame("error", body, frame_id=f"{run.id}.{len(told) + 1}").decode()


def _parsed(frame: str) -> tuple[str, Any]:
    name, body = sse.told(frame.encode())
    return name, orjson.loads(body)
