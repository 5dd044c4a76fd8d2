"""Vectors of questions, and how near in meaning the sentences of an answer are to them.

A passage's vector says what a page is about; whether one of its sentences speaks of what was asked
is told by the sentence's own. Sentences are embedded when they are about to be quoted, and kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from apps.core.domain.ports import Embedder, FloatArray
from apps.core.errors import DtRagError
from apps.core.retrieval import centres
from apps.core.retrieval.centres import Centres
from apps.core.retrieval.recent import Recent
from apps.core.text import language

log = structlog.get_logger(__name__)
SENTENCES_KEPT = 8192  # 1.5 kB each
# Cosines of two embedders cannot be compared; of these it was measured what they tell of an
# answer, see `orchestration.abstention`. One behind a network would cost a call besides.
COMPARABLE = frozenset({"e5:multilingual-e5-small-q4"})


@dataclass(frozen=True, slots=True)
class QuestionVector:
    """A question's unit vector, as it was embedded and without its language."""

    raw: FloatArray
    centred: FloatArray


class QuestionVectors:
    """Embeds in a thread and remembers."""

    def __init__(self, embedder: Embedder, entries: int) -> None:
        """Embed nothing yet.

        Args:
            embedder: of questions and sentences.
            entries: how many questions are remembered.
        """
        self._embedder = embedder
        self._entries = entries
        self._centres: Centres | None = None
        self._questions: Recent[str, QuestionVector] = Recent(entries)
        self._sentences: Recent[str, FloatArray] = Recent(SENTENCES_KEPT)

    def forget(self) -> None:
        """Embed questions anew from now on."""
        self._questions = Recent(self._entries)

    async def of(self, text: str) -> QuestionVector:
        """The vector of a question.

        Raises:
            DtRagError: the embedder failed.
        """
        known = self._questions.get(text)
        if known is None:
            known = await asyncio.to_thread(self._question, text)
            self._questions.put(text, known)
        return known

    async def nearness(self, question: str, sentences: Sequence[str]) -> float | None:
        """The greatest cosine of a question and a sentence, None where it would say nothing.

        Args:
            question: masked, as it was searched for.
            sentences: at least one; embedding a new one takes 1.5 ms a token.
        """
        if self._embedder.id not in COMPARABLE:
            return None
        try:
            asked = await self.of(question)
            vectors = await asyncio.to_thread(self._of_sentences, sentences)
        except DtRagError as error:
            log.warning("nearness.unknown", reason=error.code)
            return None
        return float((vectors @ asked.raw).max())

    def _question(self, text: str) -> QuestionVector:
        if self._centres is None:
            self._centres = centres.load(self._embedder)
        vector = self._embedder.queries([text])[0]
        return QuestionVector(vector, self._centres.question(vector, language.detect(text)))

    def _of_sentences(self, sentences: Sequence[str]) -> FloatArray:
        kept = {text: self._sentences.get(text) for text in sentences}
        found = {text: vector for text, vector in kept.items() if vector is not None}
        new = [text for text in kept if text not in found]
        if new:
            found.update(zip(new, self._embedder.passages(new), strict=True))
            for text in new:
                self._sentences.put(text, found[text])
        return np.stack(list(found.values()))
