"""An answerer that says what it is told, event by event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from apps.core.domain.flags import FlagDecision
from apps.core.domain.models import (
    AnswerRecord,
    AnswerRequest,
    Citation,
    Source,
    Usage,
)
from apps.core.errors import DtRagError
from apps.orchestration.events import Complete, Data, Event, Failed, Metadata, Progress

PIECES = ("딥러닝의 주요 ", "개념은 신경망과 ", "역전파이다. [1]")
DECISIONS = {"debate_mode": FlagDecision(on=False, reason="DEFAULT", layer="code")}


def record_of(request: AnswerRequest, text: str = "".join(PIECES)) -> AnswerRecord:
    """A whole, cited record."""
    quote = "딥러닝의 주요 개념은 신경망과 역전파이다."
    return AnswerRecord(
        answer_id=f"a-{request.request_id}",
        request_id=request.request_id,
        question_masked=request.question,
        answer=text,
        language="ko",
        mode=request.mode,
        grounded=True,
        confidence=0.83,
        citations=(
            Citation(1, "doc3#0", "doc3", "딥러닝", quote, (0, len(quote)), Source("딥러닝"), 0.7),
        ),
        hits=(),
        abstained=False,
        reason=None,
        decisions=DECISIONS,
        nodes=("understand", "retrieve", "compose", "cite"),
        degraded=(),
        served_by="extractive",
        answer_origin="extractive",
        usage=Usage(),
        timings_ms={"total": 41.2, "retrieve": 6.1},
        index_version="20250101_0000",
        model=None,
        created_at=1_760_000_000.0,
    )


class FakeAnswerer:
    """Streams `pieces`; `gates` hold it before the piece of that number until they are set."""

    def __init__(self) -> None:
        self.asked: list[AnswerRequest] = []
        self.pieces: tuple[str, ...] = PIECES
        self.gates: dict[int, asyncio.Event] = {}
        self.error: DtRagError | None = None
        self.surprise: Exception | None = None
        self.cancelled = 0
        self.called, self.left = asyncio.Event(), asyncio.Event()

    async def stream(
        self, request: AnswerRequest, *, streaming: bool = True, answer_id: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Metadata, progress, the pieces, and a terminal event."""
        self.asked.append(request)
        self.called.set()
        try:
            yield Metadata(f"a-{request.request_id}", request.request_id, DECISIONS, (), "v1")
            yield Progress("retrieve", "started")
            for number, piece in enumerate(self.pieces):
                if number in self.gates:
                    await self.gates[number].wait()
                yield Data(piece)
            if self.surprise is not None:
                raise self.surprise
            if self.error is not None:
                yield Failed(self.error, "".join(self.pieces))
                return
            yield Complete(record_of(request, "".join(self.pieces)))
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            self.left.set()
            raise

    async def answer(self, request: AnswerRequest) -> AnswerRecord:
        """The record at the end of the stream."""
        async for event in self.stream(request, streaming=False):
            if isinstance(event, Complete):
                return event.record
            if isinstance(event, Failed):
                raise event.error
        raise AssertionError("no terminal event")
