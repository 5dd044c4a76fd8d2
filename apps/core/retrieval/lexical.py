"""The lexical leg: BM25 over passages and windows, over pairs of syllables and over stems."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import tantivy
from numpy.typing import NDArray

from apps.core.domain.models import Filters, Language
from apps.core.domain.ports import FloatArray
from apps.core.retrieval import schema
from apps.core.retrieval.filters import date_range, key_groups
from apps.core.text import tokens

RowArray = NDArray[np.int64]

# Raw BM25 scores of the four parts are added with these weights. Measured on the dev sets: as
# good as the sum of min-max scaled parts, and one query per index instead of two.
FIELDS = ("bigrams", "stems")
SHARES = (1.0, 0.5)
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
    idf: weight of each query bigram; one of no passage weighs as one of a single passage.
    """

    rows: RowArray
    scores: FloatArray
    top: float
    gap: float
    reach: float
    idf: dict[str, float]


NOTHING = LexicalHits(np.zeros(0, np.int64), np.zeros(0, np.float32), 0.0, 0.0, 0.0, {})


@dataclass(frozen=True, slots=True)
class _Grain:
    """One of the two indexes, and how many of its documents are in each language."""

    searcher: tantivy.Searcher
    total: int
    by_language: Mapping[Language, int]

    def idf(self, field: str, term: str, language: Language) -> tuple[float, float]:
        """The term's weight among documents of `language`, and tantivy's among all.

        In a mixed corpus every Korean ending is rare, because the English half does not have
        it; counted among Korean documents it is as common as it reads. A term of no document
        weighs as one of a single document.
        """
        count = max(1, self.searcher.doc_freq(field, term))
        same = max(self.by_language.get(language, 0), count)
        return _idf(same, count), _idf(max(self.total, count), count)


def _idf(total: int, count: int) -> float:
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


class LexicalLeg:
    """Both indexes of an open version."""

    def __init__(self, directory: Path) -> None:
        self._schema = schema.schema()
        self._passages = self._grain(directory / schema.PASSAGES)
        self._windows = self._grain(directory / schema.WINDOWS)

    def search(self, text: str, *, language: Language, filters: Filters, limit: int) -> LexicalHits:
        """Find passages that share terms with `text`; a passage counts by its best window."""
        pairs = list(dict.fromkeys(tokens.bigrams(text)))
        stems = list(dict.fromkeys(tokens.stems(text)))
        if not pairs:
            return NOTHING
        whole, idf, ceiling = self._run(self._passages, (pairs, stems), language, filters, limit)
        if not len(whole[0]):
            return NOTHING
        parts, _, _ = self._run(self._windows, (pairs, stems), language, filters, 2 * limit)
        rows, scores = _add(whole, parts)
        raw = whole[1]
        return LexicalHits(
            rows[:limit],
            scores[:limit],
            top=float(raw[0]),
            gap=float(raw[0] - raw[1]) if len(raw) > 1 else float(raw[0]),
            reach=min(1.0, float(raw[0]) / (BM25_CEILING * ceiling)),
            idf=idf,
        )

    def _run(
        self,
        grain: _Grain,
        terms: tuple[Sequence[str], Sequence[str]],
        language: Language,
        filters: Filters,
        limit: int,
    ) -> tuple[tuple[RowArray, FloatArray], dict[str, float], float]:
        """Rows with scores of one index, the weights of the bigrams, and the sum of all."""
        clauses: list[tuple[tantivy.Occur, tantivy.Query]] = []
        weights: list[dict[str, float]] = []
        for field, share, words in zip(FIELDS, SHARES, terms, strict=True):
            found: dict[str, float] = {}
            for word in words:
                wanted, given = grain.idf(field, word, language)
                found[word] = wanted
                term = tantivy.Query.term_query(self._schema, field, word, "freq")
                boosted = tantivy.Query.boost_query(term, share * wanted / given)
                clauses.append((tantivy.Occur.Should, boosted))
            weights.append(found)
        query = self._limited(tantivy.Query.boolean_query(clauses), filters)
        ceiling = sum(
            share * sum(found.values()) for share, found in zip(SHARES, weights, strict=True)
        )
        return _hits(grain.searcher, query, limit), weights[0], ceiling

    def _limited(self, scored: tantivy.Query, filters: Filters) -> tantivy.Query:
        limits = self._limits(filters)
        if not limits:
            return scored
        silent = [tantivy.Query.const_score_query(limit, 0.0) for limit in limits]
        must = [(tantivy.Occur.Must, clause) for clause in (scored, *silent)]
        return tantivy.Query.boolean_query(must)

    def _limits(self, filters: Filters) -> list[tantivy.Query]:
        limits = [self._any_key(group) for group in key_groups(filters)]
        if filters.date_from is not None or filters.date_to is not None:
            kind = tantivy.FieldType.Unsigned
            limits.append(
                tantivy.Query.range_query(self._schema, "date", kind, *date_range(filters))
            )
        return limits

    def _any_key(self, keys: Iterable[str]) -> tantivy.Query:
        # A lone surrogate, which JSON can carry, has no UTF-8; its stand-in matches nothing more
        # than the last look at each hit lets through.
        clean = (key.encode("utf-8", "replace").decode() for key in keys)
        terms = (tantivy.Query.term_query(self._schema, "key", key, "basic") for key in clean)
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])

    def _grain(self, directory: Path) -> _Grain:
        searcher = tantivy.Index.open(str(directory)).searcher()
        counts: dict[Language, int] = {}
        for language in get_args(Language):
            query = self._any_key([schema.language_key(language)])
            # The stub leaves out what the class has.
            counts[language] = searcher.search(query, 1, count=True).count or 0  # type: ignore[attr-defined]
        return _Grain(searcher, searcher.num_docs, counts)


def _hits(
    searcher: tantivy.Searcher, query: tantivy.Query, limit: int
) -> tuple[RowArray, FloatArray]:
    hits = searcher.search(query, limit, count=False).hits
    scores = np.array([score for score, _ in hits], np.float32)
    addresses = [address for _, address in hits]
    return np.array(searcher.fast_field_values("row", addresses), np.int64), scores


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
