"""What keeps a reranker from costing a search more than was agreed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from apps.core.domain.models import Hit, Passage
from apps.core.domain.ports import Clock, Reranked, Reranker
from apps.core.errors import BadReply, DtRagError, ProviderBusy
from apps.core.resilience import Breaker, Permit
from apps.core.telemetry import metrics, traces

NAME = "reranker"
PROBE = ("How far is the sea?", ("The sea is two hours away.", "The library closes at six."))


class BoundedReranker:
    """Another reranker within a time limit and behind a breaker.

    A dead or slow one costs `limit_s` at most, and after five failures in a row nothing for a
    minute; whoever asks keeps the order that there was.
    """

    def __init__(self, inner: Reranker, *, limit_s: float, clock: Clock) -> None:
        self._inner = inner
        self._limit_s = limit_s
        self._clock = clock
        self._breaker = Breaker(NAME, clock, listener=metrics.show_breaker)

    @property
    def id(self) -> str:
        """The other one's."""
        return self._inner.id

    async def rerank(self, question: str, hits: Sequence[Hit]) -> Reranked:
        """Score `hits`.

        Raises:
            DtRagError: as the other one; ProviderBusy when it is late or left alone.
        """
        permit = self._breaker.admit()
        if permit is None:
            metrics.reranks.of("left_alone").inc()
            raise ProviderBusy(
                "The reranker failed several times and is left alone for a while.",
                retry_after_s=self._breaker.retry_after_s or 1.0,
            )
        started_s, outcome = self._clock.monotonic(), "cancelled"
        try:
            found = await self._called(permit, question, hits)
            outcome = "ok"
        except DtRagError as error:
            outcome = error.code
            raise
        finally:
            permit.release()
            metrics.reranks.of(outcome).inc()
            metrics.rerank_ms.observe((self._clock.monotonic() - started_s) * 1e3)
        return found

    async def _called(self, permit: Permit, question: str, hits: Sequence[Hit]) -> Reranked:
        try:
            with traces.begin("rerank", kind=traces.CLIENT) as span:
                span.note({"dtrag.rerank.passages": len(hits)})
                async with asyncio.timeout(self._limit_s):
                    found = await self._inner.rerank(question, hits)
                if found.scores.shape != (len(hits),) or not np.isfinite(found.scores).all():
                    raise BadReply("The reranker did not give each passage one finite score.")
        except TimeoutError as error:
            permit.fail()
            raise ProviderBusy("The reranker did not answer in time.") from error
        except DtRagError:
            permit.fail()
            raise
        permit.succeed()
        return found


async def probe(reranker: Reranker) -> None:
    """Let two sentences be ranked.

    Raises:
        DtRagError: there were no scores.
    """
    question, texts = PROBE
    passages = (Passage(text, "", "", text, 0, len(text), "en") for text in texts)
    await reranker.rerank(question, [Hit(passage, 1.0) for passage in passages])
