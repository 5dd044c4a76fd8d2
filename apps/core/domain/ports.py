"""What the rooms ask of each other, in the caller's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.flags import Decisions
from apps.core.domain.models import AnswerRequest, Hit, SearchQuery, SearchResult, Usage

FloatArray = NDArray[np.float32]


class Clock(Protocol):
    """Time that a test can hold still."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""

    def monotonic(self) -> float:
        """Seconds that only grow."""


class Searcher(Protocol):
    """Finds passages in the open index version."""

    async def search(self, query: SearchQuery) -> SearchResult:
        """Return the best passages.

        Raises:
            IndexNotReady: no version is open.
        """


class Embedder(Protocol):
    """Turns text into unit vectors; synchronous, releases the GIL or is called in a thread."""

    @property
    def id(self) -> str:
        """Name and model, e.g. `e5:multilingual-e5-small-q4`; vectors of other ids never mix."""

    @property
    def dims(self) -> int:
        """Length of a vector."""

    def queries(self, texts: Sequence[str]) -> FloatArray:
        """(n, dims) unit vectors of questions."""

    def passages(self, texts: Sequence[str]) -> FloatArray:
        """(n, dims) unit vectors of passages."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """(n,) finite scores, higher is better, on any scale; and what the call consumed."""

    scores: FloatArray
    usage: Usage = field(default_factory=Usage)


class Reranker(Protocol):
    """Scores passages against a question."""

    @property
    def id(self) -> str:
        """Kind and model, e.g. `llm:google_genai:gemini-2.5-flash`; never a key."""

    async def rerank(self, question: str, hits: Sequence[Hit]) -> Reranked:
        """Score `hits`, of which there is at least one.

        Raises:
            DtRagError: there are no scores; the order stays as it was.
        """


class FlagDecider(Protocol):
    """Decides every flag once for a request."""

    def evaluate_all(self, request: AnswerRequest | None) -> Decisions:
        """All flags by key."""
