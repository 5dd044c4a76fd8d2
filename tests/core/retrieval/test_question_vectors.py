"""How near sentences are to a question: computed once, and only where a cosine is understood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from apps.core.domain.ports import FloatArray
from apps.core.errors import ProviderBusy
from apps.core.retrieval.question_vectors import COMPARABLE, QuestionVectors
from tests.fakes.embedder import HashedEmbedder

QUESTION = "회원증을 다시 받는 데 얼마인가요?"
DIMS = 384  # of the centres that are shipped for it
NEAR, FAR = "회원증을 다시 받는 데 2,000원이다.", "The library closes at six."


class Counting(HashedEmbedder):
    """Says how many sentences it embedded."""

    def __init__(self, embedder_id: str = min(COMPARABLE)) -> None:
        super().__init__(embedder_id, DIMS)
        self.embedded: list[str] = []

    def passages(self, texts: Sequence[str]) -> FloatArray:
        if self.down:
            raise ProviderBusy("down")
        self.embedded += texts
        return super().passages(texts)


async def test_the_nearest_sentence_counts() -> None:
    """The greatest cosine of the question, as it was embedded, and a sentence."""
    embedder = Counting()
    vectors = QuestionVectors(embedder, 10)
    both = await vectors.nearness(QUESTION, [FAR, NEAR])
    question, near = HashedEmbedder(dims=DIMS).passages([QUESTION, NEAR])
    assert both == pytest.approx(float(np.dot(question, near)), abs=1e-6)
    far = await vectors.nearness(QUESTION, [FAR])
    assert far is not None
    assert far < float(np.dot(question, near))


async def test_a_sentence_is_embedded_once() -> None:
    """Passages that are often found cost nothing any more, even when one stands there twice."""
    embedder = Counting()
    vectors = QuestionVectors(embedder, 10)
    for _ in range(2):
        await vectors.nearness(QUESTION, [NEAR, FAR, NEAR])
    vectors.forget()
    await vectors.nearness(QUESTION, [NEAR])
    assert embedder.asked == [QUESTION, QUESTION]
    assert sorted(embedder.embedded) == sorted([QUESTION, NEAR, FAR, QUESTION])


async def test_cosines_of_unknown_embedders_say_nothing() -> None:
    """Nothing is embedded where nobody measured what the cosine tells."""
    embedder = Counting("fake:hashed")
    assert await QuestionVectors(embedder, 10).nearness(QUESTION, [NEAR]) is None
    assert embedder.asked == []


async def test_a_failing_embedder_leaves_it_unknown() -> None:
    """The answer goes on without."""
    embedder = Counting()
    vectors = QuestionVectors(embedder, 10)
    await vectors.of(QUESTION)
    embedder.down = True
    assert await vectors.nearness(QUESTION, [NEAR]) is None
