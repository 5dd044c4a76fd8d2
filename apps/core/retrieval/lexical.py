"""The lexical leg: BM25 over passages and windows, over pairs of syllables and over stems."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tantivy
from numpy.typing import NDArray

from apps.core.domain.models import Filters
from apps.core.domain.ports import FloatArray
from apps.core.retrieval import schema
from apps.core.retrieval.filters import date_range, key_groups
from apps.core.text import tokens

RowArray = NDArray[np.int64]

# Raw BM25 scores of the four parts are added with these weights. Measured on the dev sets: as
# good as the sum of min-max scaled parts, and one query per index instead of two.
STEM_WEIGHT = 0.5
# tantivy's BM25: k1 = 1.2, so a term can add at most idf * (k1 + 1).
BM25_CEILING = 2.2


@dataclass(frozen=True, slots=True)
class LexicalHits:
    """Rows with their scores, best first; ties by row.

    top, gap: best raw passage score, and its lead over the second.
    reach: `top` as a share of what a passage full of every query term would get, 0..1. It says
        whether the corpus speaks the question's words at all: on the dev sets its median is
        .06 for questions in the other language, .09 for everyday paraphrases, .26 to .36 for
        ordinary questions.
    idf: weight of each query bigram, 0 for one that no passage has.
    """

    rows: RowArray
    scores: FloatArray
    top: float
    gap: float
    reach: float
    idf: dict[str, float]


NOTHING = LexicalHits(np.zeros(0, np.int64), np.zeros(0, np.float32), 0.0, 0.0, 0.0, {})


class LexicalLeg:
    """Both indexes of an open version."""

    def __init__(self, directory: Path) -> None:
        self._schema = schema.schema()
        self._passages = tantivy.Index.open(str(directory / schema.PASSAGES)).searcher()
        self._windows = tantivy.Index.open(str(directory / schema.WINDOWS)).searcher()

    def search(self, text: str, *, filters: Filters, limit: int) -> LexicalHits:
        """Find passages that share terms with `text`; a passage counts by its best window."""
        pairs = list(dict.fromkeys(tokens.bigrams(text)))
        stems = list(dict.fromkeys(tokens.stems(text)))
        if not pairs:
            return NOTHING
        query = self._query(pairs, stems, filters)
        whole = self._run(self._passages, query, limit)
        parts = self._run(self._windows, query, 2 * limit)
        if not len(whole[0]):
            return NOTHING
        rows, scores = _add(whole, parts)
        idf = {term: self._idf("bigrams", term) for term in pairs}
        ceiling = sum(idf.values()) + STEM_WEIGHT * sum(self._idf("stems", term) for term in stems)
        raw = whole[1]
        return LexicalHits(
            rows[:limit],
            scores[:limit],
            top=float(raw[0]),
            gap=float(raw[0] - raw[1]) if len(raw) > 1 else float(raw[0]),
            reach=min(1.0, float(raw[0]) / (BM25_CEILING * ceiling)),
            idf=idf,
        )

    def _query(self, pairs: Sequence[str], stems: Sequence[str], filters: Filters) -> tantivy.Query:
        words = self._any("stems", stems)
        clauses = [(tantivy.Occur.Should, self._any("bigrams", pairs))]
        clauses.append((tantivy.Occur.Should, tantivy.Query.boost_query(words, STEM_WEIGHT)))
        scored = tantivy.Query.boolean_query(clauses)
        limits = self._limits(filters)
        if not limits:
            return scored
        silent = [tantivy.Query.const_score_query(limit, 0.0) for limit in limits]
        must = [(tantivy.Occur.Must, clause) for clause in (scored, *silent)]
        return tantivy.Query.boolean_query(must)

    def _any(self, field: str, terms: Iterable[str]) -> tantivy.Query:
        option = "basic" if field == "key" else "freq"
        return tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Should, tantivy.Query.term_query(self._schema, field, term, option))
                for term in terms
            ]
        )

    def _limits(self, filters: Filters) -> list[tantivy.Query]:
        # A lone surrogate, which JSON can carry, has no UTF-8; its stand-in matches nothing more
        # than the last look at each hit lets through.
        limits = [
            self._any("key", (key.encode("utf-8", "replace").decode() for key in group))
            for group in key_groups(filters)
        ]
        if filters.date_from is not None or filters.date_to is not None:
            kind = tantivy.FieldType.Unsigned
            limits.append(
                tantivy.Query.range_query(self._schema, "date", kind, *date_range(filters))
            )
        return limits

    def _run(
        self, searcher: tantivy.Searcher, query: tantivy.Query, limit: int
    ) -> tuple[RowArray, FloatArray]:
        hits = searcher.search(query, limit, count=False).hits
        scores = np.array([score for score, _ in hits], np.float32)
        rows = np.array(
            searcher.fast_field_values("row", [address for _, address in hits]), np.int64
        )
        return rows, scores

    def _idf(self, field: str, term: str) -> float:
        count = self._passages.doc_freq(field, term)
        total = self._passages.num_docs
        # A term that was deleted with its document still counts until its segment is merged.
        return math.log(1 + (max(total - count, 0) + 0.5) / (count + 0.5))


def _add(
    whole: tuple[RowArray, FloatArray], parts: tuple[RowArray, FloatArray]
) -> tuple[RowArray, FloatArray]:
    """Sum a passage's own score and that of its best window, best first, ties by row."""
    sums = dict(zip(whole[0].tolist(), whole[1].tolist(), strict=True))
    seen: set[int] = set()
    for row, score in zip(parts[0].tolist(), parts[1].tolist(), strict=True):
        if row not in seen:
            seen.add(row)
            sums[row] = sums.get(row, 0.0) + score
    rows = np.fromiter(sums.keys(), np.int64, len(sums))
    scores = np.fromiter(sums.values(), np.float32, len(sums))
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]
