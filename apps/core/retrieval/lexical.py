"""The lexical leg: BM25 over stems of whole passages, and over pairs of syllables of windows.

A stem says more than a pair when it matches, so it may stand anywhere in the passage; pairs
need no dictionary but meet by chance, so they count where they stand together. Asking both
fields of both indexes ranks ordinary questions alike at almost twice the terms; it finds more for
paraphrases, whose words the corpus lacks and for which vectors are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import tantivy

from apps.core.domain.models import Filters, Language
from apps.core.retrieval import schema
from apps.core.retrieval.filters import date_range, key_groups
from apps.core.text import tokens

# Raw BM25 scores of both are added with these weights; .7 to 1 rank the dev sets alike.
SHARES = {"bigrams": 1.0, "stems": 0.75}
# Terms that weigh less than this share of the question's heaviest are not looked up: they
# have the longest lists and change next to nothing.
PRUNED_SHARE = 0.1
TERMS_KEPT = 20_000
# tantivy's BM25: k1 = 1.2, so a term can add at most idf * (k1 + 1).
BM25_CEILING = 2.2


@dataclass(frozen=True, slots=True)
class LexicalHits:
    """Rows with their scores, best first; ties by row.

    top, gap: best raw score, and its lead over the second.
    reach: `top` as a share of what a passage full of every query term would get, 0..1. It says
        whether the corpus speaks the question's words at all.
    idf: weight of each query bigram; one of no passage weighs as one of a single passage.
    """

    rows: tuple[int, ...]
    scores: tuple[float, ...]
    top: float
    gap: float
    reach: float
    idf: dict[str, float]


NOTHING = LexicalHits((), (), 0.0, 0.0, 0.0, {})
Clause = tuple[tantivy.Occur, tantivy.Query]


@dataclass(frozen=True, slots=True)
class _Term:
    """A query term: its weight among passages of one language, and a clause that gives it.

    ceiling: what it adds to the score of a passage that is full of it.
    """

    idf: float
    ceiling: float
    clause: Clause


class LexicalLeg:
    """Both indexes of an open version."""

    def __init__(self, directory: Path) -> None:
        self._schema = schema.schema()
        self._passages = tantivy.Index.open(str(directory / schema.PASSAGES)).searcher()
        self._windows = tantivy.Index.open(str(directory / schema.WINDOWS)).searcher()
        self._total = self._passages.num_docs
        self._by_language = {name: self._count(name) for name in get_args(Language)}
        # Not lru_cache: it would hold this leg, and with it the files of a replaced version.
        self._terms: dict[tuple[str, str, Language], _Term] = {}

    def search(self, text: str, *, language: Language, filters: Filters, limit: int) -> LexicalHits:
        """Find passages that share terms with `text`; a passage counts by its best window."""
        pairs = {word: self._term("bigrams", word, language) for word in tokens.bigrams(text)}
        stems = {word: self._term("stems", word, language) for word in tokens.stems(text)}
        heavy = _heavy(pairs), _heavy(stems)
        best = self._best(*heavy, filters, limit)
        if len(best) < limit and len(heavy[0]) + len(heavy[1]) < len(pairs) + len(stems):
            # What was left out may be all that some passages share with the question.
            best = self._best(_all(pairs), _all(stems), filters, limit)
        if not best:
            return NOTHING
        top, second = -best[0][0], -best[1][0] if len(best) > 1 else 0.0
        ceiling = sum([term.ceiling for term in (*pairs.values(), *stems.values())])
        return LexicalHits(
            tuple([row for _, row in best]),
            tuple([-negative for negative, _ in best]),
            top=top,
            gap=top - second,
            reach=min(1.0, top / ceiling),
            idf={word: term.idf for word, term in pairs.items()},
        )

    def _best(
        self, pairs: list[Clause], stems: list[Clause], filters: Filters, limit: int
    ) -> list[tuple[float, int]]:
        """(-score, row), best first, ties by row; at most `limit` from each index."""
        whole = self._hits(self._passages, stems, filters, limit)
        parts = self._hits(self._windows, pairs, filters, limit)
        sums = dict(reversed(parts))  # the best window of a passage comes last and stays
        for row, score in whole:
            sums[row] = sums.get(row, 0.0) + score
        return sorted([(-score, row) for row, score in sums.items()])

    def _hits(
        self, searcher: tantivy.Searcher, clauses: list[Clause], filters: Filters, limit: int
    ) -> list[tuple[int, float]]:
        query = self._limited(tantivy.Query.boolean_query(clauses), filters)
        found = searcher.search(query, limit, count=False).hits
        rows = searcher.fast_field_values("row", [address for _, address in found])
        # The stub allows every kind of column; this one holds whole numbers and has no gap.
        return list(zip(rows, [score for score, _ in found], strict=True))  # type: ignore[arg-type]

    def _term(self, field: str, word: str, language: Language) -> _Term:
        known = self._terms.get((field, word, language))
        if known is None:
            if len(self._terms) >= TERMS_KEPT:
                self._terms.clear()
            known = self._terms[field, word, language] = self._weigh(field, word, language)
        return known

    def _weigh(self, field: str, word: str, language: Language) -> _Term:
        """Count a term among the passages of one language.

        In a mixed corpus every Korean ending is rare, because the English half does not have
        it; counted among Korean passages it is as common as it reads. A term of no passage
        weighs as one of a single passage: in a corpus of ten the formula's own value would let
        it outweigh every word that was found.
        """
        count = max(1, self._passages.doc_freq(field, word))
        wanted = _idf(max(self._by_language[language], count), count)
        given = _idf(max(self._total, count), count)
        term = tantivy.Query.term_query(self._schema, field, word, "freq")
        boosted = tantivy.Query.boost_query(term, SHARES[field] * wanted / given)
        ceiling = BM25_CEILING * SHARES[field] * wanted
        return _Term(wanted, ceiling, (tantivy.Occur.Should, boosted))

    def _limited(self, scored: tantivy.Query, filters: Filters) -> tantivy.Query:
        if filters.empty:
            return scored
        limits = self._limits(filters)
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

    def _count(self, language: Language) -> int:
        query = self._any_key([schema.language_key(language)])
        # The stub leaves out what the class has.
        return self._passages.search(query, 1, count=True).count or 0  # type: ignore[attr-defined]


def _idf(total: int, count: int) -> float:
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


def _heavy(terms: Mapping[str, _Term]) -> list[Clause]:
    least = PRUNED_SHARE * max([term.idf for term in terms.values()], default=0.0)
    return [term.clause for term in terms.values() if term.idf >= least]


def _all(terms: Mapping[str, _Term]) -> list[Clause]:
    return [term.clause for term in terms.values()]
