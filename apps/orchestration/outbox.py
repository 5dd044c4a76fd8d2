"""What a run has told so far, in the order that a listener may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from apps.core.domain.flags import FlagDecision
from apps.core.domain.models import AnswerRecord, Hit
from apps.core.errors import SystemFailure
from apps.orchestration.events import Complete, Data, Event, Failed, Found, Metadata, Progress


class Outbox:
    """Holds events until they are fetched; Metadata comes first, whatever happened before it.

    Progress that comes before the passages are known waits for them. A run that fails before
    anything was sent fails without Metadata, so that the caller can still answer with a status.
    """

    def __init__(
        self, answer_id: str, request_id: str, decisions: Mapping[str, FlagDecision]
    ) -> None:
        self.spoken = ""
        self.timings_ms: dict[str, float] = {}
        self._names = (answer_id, request_id)
        self._decisions = decisions
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._waiting: list[Progress] | None = []

    def emit(self, event: Progress | Data | Found | Complete | Failed) -> None:
        """Take an event of the run."""
        if isinstance(event, Progress):
            self._note(event)
            return
        if isinstance(event, Found):
            self._introduce(event.hits, event.index_version)
            return
        if not isinstance(event, Failed):
            self._introduce((), "")
        if isinstance(event, Data):
            self.spoken += event.text
        self._queue.put_nowait(event)

    def tell_rest(self, record: AnswerRecord) -> None:
        """Send what of the answer has not gone out yet.

        Raises:
            SystemFailure: what went out is not how the answer begins.
        """
        if not record.answer.startswith(self.spoken):
            raise SystemFailure("The text that was sent is not how the answer begins.")
        self._introduce(record.hits, record.index_version)
        rest = record.answer[len(self.spoken) :]
        if rest:
            self.emit(Data(rest))

    def close(self) -> None:
        """Let the listener know that nothing more will come."""
        self._queue.put_nowait(None)

    async def next(self) -> Event | None:
        """Wait for the next event; None after the last."""
        return await self._queue.get()

    def _note(self, event: Progress) -> None:
        if event.step != "started":
            self.timings_ms[event.node] = self.timings_ms.get(event.node, 0.0) + event.elapsed_ms
        if self._waiting is None:
            self._queue.put_nowait(event)
        else:
            self._waiting.append(event)

    def _introduce(self, hits: tuple[Hit, ...], index_version: str) -> None:
        if self._waiting is None:
            return
        self._queue.put_nowait(Metadata(*self._names, self._decisions, hits, index_version))
        for event in self._waiting:
            self._queue.put_nowait(event)
        self._waiting = None
