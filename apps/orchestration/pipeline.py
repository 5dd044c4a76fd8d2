"""From a question to a recorded answer: decide the flags once, look it up or walk the graph, tell.

A plain answer and a streamed one are one path: `answer` listens to `stream`. All `Data` of a run
joined are the record's answer, also when it comes from the cache or abstains.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Protocol, TypeVar

import structlog

from apps.core.domain.models import AnswerRecord, AnswerRequest
from apps.core.domain.ports import Clock, FlagDecider, Searcher
from apps.core.errors import DeadlineExceeded, DtRagError, SystemFailure
from apps.core.flags.evaluation import Evaluation
from apps.core.settings import Settings
from apps.core.telemetry import metrics
from apps.orchestration.events import Complete, Event, Failed
from apps.orchestration.exposures import Arms, Exposures, Nobody
from apps.orchestration.graph import walk
from apps.orchestration.keys import answer_key, recall_key
from apps.orchestration.models import ModelChain
from apps.orchestration.node import Node, RunContext, nothing_killed
from apps.orchestration.nodes import PIPELINE
from apps.orchestration.outbox import Outbox
from apps.orchestration.records import (
    Begun,
    again,
    initial,
    made,
    trace_beginning,
    trace_end,
)

V = TypeVar("V")
Record = Callable[[AnswerRecord], Awaitable[None]]
# An answer that a failing provider may fall back to is kept longer than one that saves a call.
RECALL_TTL_S = 24 * 3600.0

log = structlog.get_logger(__name__)


class Index(Searcher, Protocol):
    """A searcher that knows its version."""

    @property
    def version(self) -> str | None:
        """Of the open index; None while none is open."""


class Memory(Protocol):
    """What `core.cache.Cache` offers here."""

    async def get(self, key: str, kind: type[V]) -> V | None:
        """The value, or None."""

    async def put(self, key: str, value: object, *, ttl_s: float | None = None) -> None:
        """Keep it."""


@dataclass(frozen=True, slots=True)
class AnswerPipeline:
    """Answers questions; one for the whole process.

    search: finds passages in the open index version.
    models: the chat models in fallback order, maybe none.
    flags: decides every flag once a request.
    cache: keeps finished answers.
    settings: time limits.
    clock: times and durations.
    rng: answer ids, fences and pauses; `random.SystemRandom` outside of tests.
    record: keeps what was answered; a failure there is logged and does not lose the answer.
    nodes: the walk.
    arms: counts what the arms of rollouts do.
    killed: whether a flag is killed now, by the newest snapshot.
    """

    search: Index
    models: ModelChain
    _: KW_ONLY
    flags: FlagDecider
    cache: Memory
    settings: Settings
    clock: Clock
    rng: random.Random
    record: Record
    nodes: tuple[Node, ...] = PIPELINE
    arms: Arms = field(default_factory=Nobody)
    killed: Callable[[str], bool] = nothing_killed

    async def answer(self, request: AnswerRequest) -> AnswerRecord:
        """Answer at once.

        Raises:
            DtRagError: no link of the chain could answer.
        """
        async with aclosing(self.stream(request, streaming=False)) as events:
            async for event in events:
                if isinstance(event, Complete):
                    return event.record
                if isinstance(event, Failed):
                    raise event.error
        raise SystemFailure("The run ended without a result.")

    async def stream(
        self, request: AnswerRequest, *, streaming: bool = True, answer_id: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Tell how the answer comes about; the last event is Complete or Failed.

        Whoever stops listening closes the generator (`aclosing`), which cancels the run and its
        model call.

        Args:
            request: the question.
            streaming: whether text may go out sentence by sentence; a plain answer is told whole,
                so that a provider that breaks off can still be replaced.
            answer_id: of a run that may have begun in another worker; a new one when absent.
        """
        begun = self._begin(request, streaming=streaming, answer_id=answer_id)
        outbox = Outbox(begun.answer_id, request.request_id, begun.evaluation)
        task = asyncio.create_task(self._run(begun, outbox))
        task.add_done_callback(lambda _: outbox.close())
        try:
            while (event := await outbox.next()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _begin(self, request: AnswerRequest, *, streaming: bool, answer_id: str | None) -> Begun:
        now_s = self.clock.monotonic()
        limit_s = self.settings.REQUEST_TIMEOUT_S
        decisions = request.decisions
        if decisions is None:
            decisions = self.flags.evaluate_all(request)
        return Begun(
            request,
            answer_id=answer_id or f"{self.rng.getrandbits(128):032x}",
            evaluation=Evaluation.of(decisions),
            started_s=now_s,
            deadline=now_s + min(request.timeout_s or limit_s, limit_s),
            streaming=streaming,
        )

    async def _run(self, begun: Begun, outbox: Outbox) -> None:
        trace_beginning(begun)
        exposures = Exposures(self.arms, begun.evaluation, begun.request.request_id)
        try:
            record = await self._known(begun) or await self._made(begun, outbox, exposures)
            outbox.tell_rest(record)
        except DtRagError as error:
            log.warning("answer.failed", code=error.code, error=error.detail)
            self._failed(error, begun, outbox, exposures)
            outbox.emit(Failed(error, outbox.spoken))
            return
        except Exception:
            self._failed(None, begun, outbox, exposures)
            raise
        except asyncio.CancelledError:
            if self.clock.monotonic() >= begun.deadline:
                self._failed(DeadlineExceeded("Given up."), begun, outbox, exposures)
            else:
                exposures.left(at=self.clock.now(), elapsed_ms=self._elapsed_ms(begun))
            raise
        record = await self._kept(record)
        exposures.answered(record, has_models=bool(self.models))
        self._count(record, begun)
        trace_end(record)
        outbox.emit(Complete(record))

    def _failed(
        self, error: DtRagError | None, begun: Begun, outbox: Outbox, exposures: Exposures
    ) -> None:
        elapsed_ms = self._elapsed_ms(begun)
        exposures.failed(error, at=self.clock.now(), elapsed_ms=elapsed_ms, text=outbox.spoken)

    async def _known(self, begun: Begun) -> AnswerRecord | None:
        """Answer from the cache."""
        key = self._key(begun, self.search.version)
        found = await self.cache.get(key, AnswerRecord) if key else None
        if found is None:
            return None
        timings_ms = {"total": self._elapsed_ms(begun)}
        return again(begun, found, timings_ms=timings_ms, now=self.clock.now())

    async def _made(self, begun: Begun, outbox: Outbox, exposures: Exposures) -> AnswerRecord:
        """Answer by walking the graph, and remember a good answer."""
        if begun.deadline <= self.clock.monotonic():
            raise DeadlineExceeded("The request's time was used up before it began.")
        state = initial(begun, self.search.version or "")
        ctx = self._context(begun, outbox, exposures)
        state = await walk(begun.on, self.nodes, state, ctx)
        timings_ms = {"total": self._elapsed_ms(begun), **outbox.timings_ms}
        record = made(begun, state, timings_ms=timings_ms, now=self.clock.now())
        await self._remember(begun, record)
        return replace(record, exposed=exposures.met) if exposures.met else record

    async def _remember(self, begun: Begun, record: AnswerRecord) -> None:
        if record.abstained or record.degraded or record.mode == "search":
            return
        if key := self._key(begun, record.index_version):
            await self.cache.put(key, record)
        recall = recall_key(begun.request, begun.evaluation.digest)
        if recall and record.answer_origin != "extractive":
            await self.cache.put(recall, record, ttl_s=RECALL_TTL_S)

    def _context(self, begun: Begun, outbox: Outbox, exposures: Exposures) -> RunContext:
        async def recall() -> AnswerRecord | None:
            key = recall_key(begun.request, begun.evaluation.digest)
            return await self.cache.get(key, AnswerRecord) if key else None

        on = [node for node in self.nodes if node.flag is None or node.flag.key in begun.on]
        return RunContext(
            search=self.search.search,
            models=self.models,
            clock=self.clock,
            rng=self.rng,
            deadline=begun.deadline,
            emit=outbox.emit,
            recall=recall,
            may_emit_text=begun.streaming and not any(node.replaces_draft for node in on),
            max_cost_usd=begun.request.max_cost,
            exposed=exposures.meet,
            killed=self.killed,
            faults=self.settings.faults,
        )

    async def _kept(self, record: AnswerRecord) -> AnswerRecord:
        """Hand the record over; feedback on an answer that was not kept will find nothing."""
        try:
            await self.record(record)
        except DtRagError as error:
            log.error("answer.not_recorded", code=error.code, error=error.detail)
            return replace(record, degraded=(*record.degraded, "record"))
        return record

    def _count(self, record: AnswerRecord, begun: Begun) -> None:
        elapsed_ms = self._elapsed_ms(begun)
        metrics.answers.of(record.served_by, str(record.abstained).lower()).inc()
        metrics.answer_ms.observe(elapsed_ms)
        log.info(
            "answer.completed",
            answer_id=record.answer_id,
            duration_ms=round(elapsed_ms, 1),
            flags_on=sorted(begun.on),
            degraded=list(record.degraded),
            served_by=record.served_by,
            abstained=record.abstained,
        )

    def _elapsed_ms(self, begun: Begun) -> float:
        return (self.clock.monotonic() - begun.started_s) * 1e3

    def _key(self, begun: Begun, version: str | None) -> str | None:
        if not version:
            return None
        flags = begun.evaluation.digest
        ranked_by = f"{self.settings.DTRAG_RERANKER} {self.settings.DTRAG_RERANKER_MODEL}"
        models = self.models.names
        return answer_key(begun.request, flags, models=models, version=version, reranker=ranked_by)
