"""A reranker costs a limited time, and nothing while it is known to be down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pytest

from apps.core.domain.models import Hit
from apps.core.domain.ports import Reranked
from apps.core.errors import BadReply, DtRagError, ProviderBusy
from apps.core.retrieval.reranking import BoundedReranker, probe
from apps.core.telemetry import metrics
from tests.fakes.clock import FakeClock
from tests.fakes.collector import KeptSpans
from tests.fakes.passages import SMALL

HITS = [Hit(each, 1.0) for each in SMALL[:2]]


class Ranks:
    """Gives these scores; without any it hangs, and an error is raised."""

    id = "fake"

    def __init__(self, gives: Sequence[float] | DtRagError | None) -> None:
        self.gives = gives
        self.calls = 0

    async def rerank(self, question: str, hits: Sequence[Hit]) -> Reranked:
        self.calls += 1
        if self.gives is None:
            await asyncio.Event().wait()
        if isinstance(self.gives, DtRagError):
            raise self.gives
        with np.errstate(over="ignore"):
            return Reranked(np.array(self.gives, np.float32))


def bounded(inner: Ranks, clock: FakeClock | None = None, limit_s: float = 0.02) -> BoundedReranker:
    """`inner` with a short limit."""
    return BoundedReranker(inner, limit_s=limit_s, clock=clock or FakeClock())


def counted(outcome: str) -> float:
    """How many calls ended so."""
    return metrics.reranks.of(outcome)._value.get()


async def test_scores_pass_through() -> None:
    """Any finite scale will do."""
    found = await bounded(Ranks([-3.5, 1e30])).rerank("q", HITS)
    assert found.scores.tolist() == [-3.5, np.float32(1e30)]
    assert bounded(Ranks([])).id == "fake"


@pytest.mark.parametrize(
    "scores", [[], [1], [1, 2, 3], [1, np.nan], [np.inf, 1], [1, -np.inf], [1, 1e300]]
)
async def test_a_score_that_is_none_is_refused(scores: list[float]) -> None:
    """Sorting by it would mean nothing, so there is no order at all."""
    with pytest.raises(BadReply, match="finite"):
        await bounded(Ranks(scores)).rerank("q", HITS)


async def test_a_late_one_is_left_behind() -> None:
    """It takes its limit and not more, and is called busy."""
    before = counted("rate_limit_exceeded")
    with pytest.raises(ProviderBusy, match="in time"):
        async with asyncio.timeout(5):
            await bounded(Ranks(None)).rerank("q", HITS)
    assert counted("rate_limit_exceeded") == before + 1


@pytest.mark.parametrize("gives", [None, BadReply("x"), [np.nan, 1]], ids=["hangs", "fails", "nan"])
async def test_after_five_failures_it_is_left_alone(
    gives: Sequence[float] | DtRagError | None,
) -> None:
    """For a minute nobody waits for it; then it is asked again, and three successes end it."""
    clock, inner = FakeClock(), Ranks(gives)
    reranker = bounded(inner, clock)
    for _ in range(8):
        with pytest.raises(DtRagError):
            await reranker.rerank("q", HITS)
    assert inner.calls == 5
    clock.pass_s(60)
    inner.gives = [1, 2]
    for _ in range(4):
        await reranker.rerank("q", HITS)
    assert inner.calls == 9


async def test_a_caller_who_leaves_says_nothing_of_it() -> None:
    """A cancelled call is not its failure."""
    inner = Ranks(None)
    reranker = bounded(inner, limit_s=60)
    for _ in range(6):
        task = asyncio.create_task(reranker.rerank("q", HITS))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert inner.calls == 6


async def test_a_call_is_a_span() -> None:
    """With how much was asked, never what; a bad one has failed."""
    for gives, failed in (([1, 2], False), ([1], True)):
        kept = KeptSpans()
        with kept() as process, process.begin("search"), suppress(BadReply):
            await bounded(Ranks(gives)).rerank("secret question", HITS)
        facts = kept.facts("rerank")
        assert facts["dtrag.rerank.passages"] == 2
        assert ("error.type" in facts) is failed
        assert "secret" not in str(dict(facts))


async def test_a_probe_ranks_two_sentences() -> None:
    """Whatever the scores are."""
    inner = Ranks([1, 2])
    await probe(bounded(inner))
    assert inner.calls == 1
