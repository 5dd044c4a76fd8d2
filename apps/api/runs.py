"""Streamed runs: text coalesced into events, a slow reader felt by the writer, and resuming.

Figures of requirements document 003: flush after 100 ms or 4,096 bytes, at most 65,536 bytes
that the reader has not taken, pause at 0.8 of that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

import orjson

from apps.api import render, sse
from apps.core.domain.models import AnswerRecord
from apps.core.domain.ports import Clock
from apps.core.errors import BadReply, BusinessFailure, DtRagError, NotFound, SystemFailure
from apps.orchestration.events import Complete, Data, Event, Failed, Metadata, Progress

FLUSH_S = 0.1
FLUSH_BYTES = 4096
MAX_UNSENT_BYTES = 65_536
PAUSE_SHARE = 0.8
KEEP_S = 300.0
MAX_KEPT_BYTES = 16 * 1024 * 1024
Ended = Callable[[AnswerRecord | None], Awaitable[None]]


class Run:
    """One streamed answer: frames as they were made, and where its reader is."""

    def __init__(self, run_id: str, *, owner: str, flush_s: float = FLUSH_S) -> None:
        self.id = run_id
        self.owner = owner
        self.over = False
        self.kept_bytes = 0
        self._frames: list[bytes] = []
        # A reader that comes back may be here before its dead connection was noticed.
        self._filling = asyncio.Lock()
        self._flush_s = flush_s
        self._text = ""
        self._repeated: str | None = None
        self._pending: list[str] = []
        self._pending_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._moved = asyncio.Event()
        self._taken = asyncio.Event()

    async def fill(
        self, events: AsyncGenerator[Event, None], *, request_id: str, ended: Ended
    ) -> None:
        """Turn a run's events into frames until the terminal one.

        After an interruption, `events` is a second run of the same question: what the reader
        has is left out when it is the same text, and the run fails when it is another.
        """
        async with self._filling:
            if self.over:
                return
            self._repeated = "" if self._frames else None
            record: AnswerRecord | None = None
            try:
                record = await self._fill(events, request_id)
            except DtRagError as error:
                self._fail(error, request_id)
            except Exception:
                self._fail(SystemFailure("The run failed."), request_id)
                raise
            finally:
                self._cancel_timer()
                self._pending.clear()
                await ended(record)

    async def _fill(self, events: AsyncGenerator[Event, None], request_id: str) -> AnswerRecord:
        # Closed at once when the reader leaves: that is what stops the model call.
        async with aclosing(events) as told:
            async for event in told:
                await self._take(event, request_id)
                if isinstance(event, Complete):
                    return event.record
        raise SystemFailure("The run ended without a result.")

    async def _take(self, event: Event, request_id: str) -> None:
        if isinstance(event, Data):
            self._add_text(event.text)
        elif isinstance(event, Complete):
            self._complete(event.record)
        elif isinstance(event, Failed):
            raise event.error
        elif self._repeated is None:
            self._flush()
            if isinstance(event, Metadata):
                self._append("metadata", sse.metadata(event))
            elif isinstance(event, Progress):
                self._append("progress", sse.progress(event))
        while self._unsent_bytes > PAUSE_SHARE * MAX_UNSENT_BYTES and not self.over:
            self._taken.clear()
            await self._taken.wait()

    def _add_text(self, piece: str) -> None:
        if self._repeated is not None:
            piece = self._beyond(piece)
        if not piece:
            return
        self._pending.append(piece)
        self._pending_bytes += len(piece.encode())
        if self._pending_bytes >= FLUSH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_s, self._flush)

    def _beyond(self, piece: str) -> str:
        self._repeated = (self._repeated or "") + piece
        known = min(len(self._repeated), len(self._text))
        if self._repeated[:known] != self._text[:known]:
            raise BadReply("The answer could not be continued; ask again.")
        if len(self._repeated) < len(self._text):
            return ""
        rest, self._repeated = self._repeated[len(self._text) :], None
        return rest

    def _complete(self, record: AnswerRecord) -> None:
        if self._repeated is not None and self._text:
            raise BadReply("The answer could not be continued; ask again.")
        self._flush()
        self.over = True
        self._append("complete", render.answer(record))

    def _fail(self, error: DtRagError, request_id: str) -> None:
        if not self.over:
            self._flush()
            self.over = True
            body = sse.failure(error, request_id=request_id, partial=self._text)
            self._append("error", body)

    def _flush(self) -> None:
        self._cancel_timer()
        if self._pending:
            piece = "".join(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
            self._text += piece
            self._append("data", {"text": piece})

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _append(self, name: str, body: object) -> None:
        made = sse.frame(name, body, frame_id=f"{self.id}.{len(self._frames) + 1}")
        self._frames.append(made)
        self.kept_bytes += len(made)
        self._unsent_bytes += len(made)
        self._moved.set()

    def restore(self, frames: Sequence[bytes]) -> None:
        """Hold to what was told before, by another process."""
        self._frames = list(frames)
        told = map(sse.told, frames)
        self._text = "".join(orjson.loads(body)["text"] for name, body in told if name == "data")

    async def batches(
        self, after: int = 0, *, silent_s: float = sse.HEARTBEAT_S
    ) -> AsyncIterator[Sequence[bytes]]:
        """Frames that the reader has not seen yet, several at once when it is slow.

        Args:
            after: number of the last frame that the reader has.
            silent_s: after so long without a frame comes an empty batch.
        """
        self._unsent_bytes = sum(map(len, self._frames[after:]))
        while True:
            fresh = self._frames[after:]
            if fresh:
                after += len(fresh)
                yield fresh
                # Only now: the reader has taken it, or at least the socket has.
                self._unsent_bytes -= sum(map(len, fresh))
                self._taken.set()
            elif self.over:
                return
            else:
                self._moved.clear()
                try:
                    async with asyncio.timeout(silent_s):
                        await self._moved.wait()
                except TimeoutError:
                    yield ()

    async def chunks(
        self, after: int = 0, *, heartbeat_s: float = sse.HEARTBEAT_S
    ) -> AsyncIterator[bytes]:
        """The same as bytes; after a silence a comment shows that the run lives."""
        async for fresh in self.batches(after, silent_s=heartbeat_s):
            yield b"".join(fresh) or sse.HEARTBEAT


class Runs:
    """Runs that may be resumed: five minutes, within a bound of memory, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Run]] = OrderedDict()

    def add(self, run: Run) -> None:
        """Keep a run and forget those that are old or too much."""
        now = self._clock.monotonic()
        self._kept[run.id] = (now, run)
        total = sum(each.kept_bytes for _, each in self._kept.values())
        while self._kept:
            oldest, (at, kept) = next(iter(self._kept.items()))
            if kept is run or (now - at <= KEEP_S and total <= MAX_KEPT_BYTES):
                break
            total -= kept.kept_bytes
            del self._kept[oldest]

    def resume(self, last_event_id: str, *, owner: str) -> tuple[Run, int]:
        """The run and the number of the last frame that the reader has.

        Raises:
            NotFound: it is not kept any more, or never was.
            BusinessFailure: it belongs to another question or caller.
        """
        run_id, _, number = last_event_id.rpartition(".")
        at, run = self._kept.get(run_id, (0.0, None))
        if run is None or self._clock.monotonic() - at > KEEP_S or not number.isdecimal():
            raise NotFound("This stream is not kept any more; ask without Last-Event-ID.")
        if run.owner != owner:
            raise BusinessFailure("Last-Event-ID belongs to another request.")
        return run, int(number)
