"""One open index version: its rows, its legs, and one ranking over them."""

from __future__ import annotations

from collections import Counter
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from apps.core.artifacts import manifest as manifests
from apps.core.artifacts import rows as row_files
from apps.core.artifacts import vectors
from apps.core.artifacts.manifest import Manifest
from apps.core.artifacts.rows import Columns
from apps.core.domain.models import (
    Filters,
    Hit,
    Language,
    Scores,
    SearchQuery,
    SearchSignals,
)
from apps.core.domain.ports import FloatArray
from apps.core.retrieval import dense, fusion, highlight, lexical
from apps.core.retrieval.dense import DenseHits, DenseLeg
from apps.core.retrieval.filters import BoolArray, RowSets, admits, row_sets
from apps.core.retrieval.fusion import Fused
from apps.core.retrieval.ivf import open_inverted
from apps.core.retrieval.lexical import LexicalHits, LexicalLeg
from apps.core.retrieval.loops import Loops
from apps.core.retrieval.options import SearchOptions
from apps.core.text import language

LEXICAL = "lexical"  # the directory of its columns
# The lexical leg gives so many, and twice so many for a strange question. More than `FEW_WANTED`
# hits (a caller may ask for 50, a reranker for 200) need more to choose from.
LEXICAL_CANDIDATES = 30
FEW_WANTED = 20
DENSE_CANDIDATES = 60
UNASKED = SearchSignals()
PASSAGES_KEPT = 16_384  # decoded; about 4 kB each


class Ranking(NamedTuple):
    """Hits of one query, its language, the number of candidates, and what the legs felt."""

    language: Language
    hits: tuple[Hit, ...]
    total_candidates: int
    signals: SearchSignals


class OpenIndex:
    """A verified version; it lives as long as somebody holds it, even when it was deleted."""

    def __init__(self, directory: Path, options: SearchOptions, *, loops: Loops) -> None:
        """Open and verify.

        Raises:
            IndexNotReady: a file is missing or damaged; the message names it.
        """
        self.manifest: Manifest = manifests.read(directory)
        manifests.verify(directory, self.manifest)
        version = self.manifest.version
        self._options = options
        self._loops = loops
        self.rows = row_files.open_rows(directory, version)
        self._passage = lru_cache(maxsize=PASSAGES_KEPT)(self.rows.passage)
        self.lexical = LexicalLeg(directory / LEXICAL, _by_language(self.rows.columns), loops=loops)
        self._dense: DenseLeg | None = dense.open_leg(
            vectors.open_matrix(directory, version),
            self.rows.columns["language"],
            self.manifest.means,
            loops=loops,
            inverted=open_inverted(directory / f"ivf-{version}.faiss"),
            exact_below=options.faiss_above,
        )

    def same_space(self, embedder_id: str) -> bool:
        """Whether the version's vectors come from this embedder; others never mix."""
        return self.manifest.vectors > 0 and self.manifest.embedder == embedder_id

    @cached_property
    def _row_sets(self) -> RowSets:
        return row_sets(self.rows.columns)

    def rank(
        self, query: SearchQuery, *, question: FloatArray | None, use_lexical: bool
    ) -> Ranking:
        """Rank passages for a query.

        Args:
            query: what is wished; `text` is not empty.
            question: its centred vector, None to leave the dense leg out.
            use_lexical: whether the lexical leg has a say in the order; its signals are always
                taken.
        """
        asked = language.detect(query.text)
        limit = _wanted(query.top_k)
        near, strange_limit = dense.NOTHING, 0
        allowed = self._allowed(query.filters)
        if question is not None and self._dense is not None:
            near = self._dense.search(question, allowed=allowed, limit=DENSE_CANDIDATES)
            strange_limit = limit + LEXICAL_CANDIDATES
        found = self.lexical.search(
            query.text,
            language=asked,
            allowed=allowed,
            limit=limit,
            strange_limit=strange_limit,
        )
        fused = self._fuse(found, near, query, asked=asked, use_lexical=use_lexical)
        hits = self._hits(fused, query)
        signals = UNASKED
        if query.signals or query.highlight:
            idf = self.lexical.idf(query.text, asked)
            if query.signals:
                read = highlight.coverage(idf, [hit.passage for hit in hits[:3]])
                signals = _signals(found, near, coverage=read)
            if query.highlight:
                hits = highlight.mark(hits, query.text, idf)
        return Ranking(asked, hits, fused.candidates, signals)

    def _allowed(self, filters: Filters) -> BoolArray | None:
        return None if filters.empty else self._row_sets.mask(filters)

    def _fuse(
        self,
        found: LexicalHits,
        near: DenseHits,
        query: SearchQuery,
        *,
        asked: Language,
        use_lexical: bool,
    ) -> Fused:
        limit = query.top_k
        if not use_lexical:
            return fusion.convex(lexical.NOTHING, near, limit, weight=0.0)
        if not len(near.rows):
            return fusion.alone(found, limit)
        if self._options.fusion == "rrf":
            return fusion.reciprocal_rank(found, near, limit)
        weight = self._options.dense_weight if query.dense_weight is None else query.dense_weight
        weight = fusion.lexical_weight(found.reach, weight)
        foreign = self._dense.foreign(near.rows, asked) if self._dense else None
        join = self._loops.convex
        return fusion.convex(found, near, limit, weight=weight, foreign=foreign, join=join)

    def _hits(self, fused: Fused, query: SearchQuery) -> tuple[Hit, ...]:
        hits: list[Hit] = []
        limited = not query.filters.empty
        for row, score, words, meaning in zip(*fused[:4], strict=True):
            if score < query.min_score:
                break
            passage = self._passage(row)
            # The legs obey the filter; this last look is what a caller can rely on.
            if limited and not admits(query.filters, passage):
                continue
            hits.append(Hit(passage, score, Scores(words, meaning)))
        return tuple(hits)


def _signals(found: LexicalHits, near: DenseHits, *, coverage: float) -> SearchSignals:
    return SearchSignals(
        lexical_top=found.top,
        lexical_gap=found.gap,
        coverage=coverage,
        dense_top=float(near.scores[0]) if len(near.scores) else None,
        agreement=fusion.agreement(found, near),
    )


def _by_language(columns: Columns) -> Counter[Language]:
    """Passages of each language, without dead rows."""
    alive = zip(columns["chunk_id"], columns["language"], strict=True)
    return Counter(name for chunk_id, name in alive if chunk_id is not None)


def _wanted(top_k: int) -> int:
    return LEXICAL_CANDIDATES if top_k <= FEW_WANTED else top_k + LEXICAL_CANDIDATES
