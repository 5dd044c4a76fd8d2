"""A searcher and index over a few passages, found by shared words."""

from __future__ import annotations

from collections.abc import Sequence

from apps.core.domain.models import Hit, Passage, Scores, SearchQuery, SearchResult, Source
from apps.core.errors import DtRagError

PASSAGES = tuple(
    Passage(
        chunk_id=f"doc{n}#0",
        doc_id=f"doc{n}",
        title=title,
        text=text,
        start=0,
        end=len(text),
        language="ko" if n % 2 else "en",
        tags=("guide",),
        source=Source(title=title, url=f"https://example.org/{n}", date="2025-01-02"),
    )
    for n, (title, text) in enumerate(
        [
            ("Vector index", "A vector index finds near vectors. It trades recall for speed."),
            ("머신러닝", "machine learning은 데이터에서 배우는 방법이다. 예측에 쓰인다."),
            ("Fusion", "Fusion joins a lexical and a dense ranking into one."),
            ("딥러닝", "딥러닝의 주요 개념은 신경망과 역전파이다."),
            ("Artificial intelligence", "Artificial intelligence is the study of agents."),
        ]
    )
)


class FakeSearcher:
    """Ranks by shared lower-case words; keeps every query that it was asked."""

    def __init__(self, passages: Sequence[Passage] = PASSAGES) -> None:
        self._passages = passages
        self.asked: list[SearchQuery] = []
        self.error: DtRagError | None = None
        self.version: str | None = "20250101_0000"

    @property
    def passages(self) -> int:
        """How many there are."""
        return len(self._passages)

    @property
    def vectors(self) -> int:
        """None has a vector."""
        return 0

    async def search(self, query: SearchQuery) -> SearchResult:
        """Rank all, or fail as told."""
        self.asked.append(query)
        if self.error is not None:
            raise self.error
        words = set(query.text.lower().split())
        ranked = sorted(
            self._passages, key=lambda each: -len(words & set(each.text.lower().split()))
        )
        hits = tuple(
            Hit(passage=each, score=1.0 / (place + 1), scores=Scores(lexical=1.0 / (place + 1)))
            for place, each in enumerate(ranked[: query.top_k])
        )
        return SearchResult(
            hits=hits,
            total_candidates=len(self._passages),
            mode=query.mode or "lexical",
            index_version=self.version or "",
            language="ko" if any("가" <= letter <= "힣" for letter in query.text) else "en",
        )
