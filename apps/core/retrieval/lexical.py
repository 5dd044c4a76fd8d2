"""The lexical leg: BM25 over stems of whole passages, and over pairs of syllables of windows.

A stem says more than a pair when it matches, so it may stand anywhere in the passage; pairs
need no dictionary but meet by chance, so they count where they stand together. Asking both
fields of both indexes ranks ordinary questions alike at almost twice the terms; it finds more for
paraphrases, whose words the corpus lacks and for which vectors are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import tantivy

from apps.core.domain.models import Filters, Language
from apps.core.retrieval import schema
from apps.core.retrieval.filters import date_range, key_groups
from apps.core.text import tokens
from apps.core.text.asking import ASKING, Field

# Raw BM25 scores of both are added with these weights; .7 to 1 rank the dev sets alike.
SHARES = {"bigrams": 1.0, "stems": 0.75}
# Terms that weigh less than this share of the question's heaviest are not looked up: they
# have the longest lists and change next to nothing.
PRUNED_SHARE = 0.1
# With fewer passages than this share of those wished for, they are looked up after all. Above it
# the dev sets rank alike.
ENOUGH_SHARE = 2 / 3
TERMS_KEPT = 10_000  # of each field and language
# Of its weight, for a word that only asks. Counted in a question's own language: "it" is a word
# of an English question, and the trade in a Korean one. On the dev sets .15 is worse for English
# (half a point of first hits on xquad-en) and .5 alike for Korean; no other share was tried.
ASKING_SHARE = 0.3
# A question of so little reach is a paraphrase or in another language: the passages that vectors
# find for it share a few words at most, so more of them are looked for. Dev sets, tenth
# percentile: ordinary questions .24 and more; ninetieth: paraphrases .17, the other language .18.
STRANGE_REACH = 0.2
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


class _Terms(dict[str, _Term]):
    """The terms of one field and language that were asked for, each weighed once."""

    def __init__(self, weigh: Callable[[str], _Term]) -> None:
        super().__init__()
        self._weigh = weigh

    def of(self, words: Iterable[str]) -> dict[str, _Term]:
        """The term of each word, in order."""
        return {word: self[word] for word in words}

    def __missing__(self, word: str) -> _Term:
        if len(self) >= TERMS_KEPT:
            self.clear()
        term = self[word] = self._weigh(word)
        return term


@dataclass(frozen=True, slots=True)
class _Hits:
    """Scores and addresses of one index, best first."""

    searcher: tantivy.Searcher
    hits: list[tuple[float, tantivy.DocAddress]]

    def best(self, count: int) -> tuple[list[int], list[float]]:
        """Rows and their scores, best first; a passage may have several windows."""
        found = self.hits[:count]
        rows = self.searcher.fast_field_values("row", [address for _, address in found])
        # The stub allows every kind of column; this one holds whole numbers and has no gap.
        return rows, [score for score, _ in found]  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _Look:
    """What a question's terms found in both indexes."""

    windows: _Hits
    passages: _Hits

    def sums(self, count: int) -> dict[int, float]:
        """Scores by row of the best `count` hits of each index."""
        rows, scores = self.windows.best(count)
        # The best window of a passage comes last and stays.
        sums = dict(zip(reversed(rows), reversed(scores), strict=True))
        found = sums.get
        for row, score in zip(*self.passages.best(count), strict=True):
            sums[row] = found(row, 0.0) + score
        return sums


class LexicalLeg:
    """Both indexes of an open version."""

    def __init__(self, directory: Path) -> None:
        self._schema = schema.schema()
        self._passages = tantivy.Index.open(str(directory / schema.PASSAGES)).searcher()
        self._windows = tantivy.Index.open(str(directory / schema.WINDOWS)).searcher()
        self._total = self._passages.num_docs
        self._by_language = {name: self._count(name) for name in get_args(Language)}
        # Not lru_cache: it would hold this leg, and with it the files of a replaced version.
        self._terms: dict[tuple[Field, Language], _Terms] = {}

    def search(
        self, text: str, *, language: Language, filters: Filters, limit: int, strange_limit: int = 0
    ) -> LexicalHits:
        """Find passages that share terms with `text`; a passage counts by its best window.

        Args:
            text: the question.
            language: its language.
            filters: what every passage obeys.
            limit: how many hits of each index count.
            strange_limit: how many count where the best passage stays below `STRANGE_REACH`.
        """
        plain = tokens.normal(text)
        pairs = self._known("bigrams", language).of(tokens.normal_bigrams(plain))
        stems = self._known("stems", language).of(tokens.normal_stems(plain))
        ceiling = sum([term.ceiling for term in (*pairs.values(), *stems.values())])
        limits = (limit, strange_limit) if strange_limit > limit else (limit,)
        heavy = _heavy(pairs), _heavy(stems)
        look = self._look(*heavy, filters, limits[-1])
        left_out = len(pairs) + len(stems) - len(heavy[0]) - len(heavy[1])
        sums: dict[int, float] = {}
        for count in limits:
            sums = look.sums(count)
            if left_out and len(sums) < ENOUGH_SHARE * count:
                # What was left out may be all that some passages share with the question.
                look, left_out = self._look(_all(pairs), _all(stems), filters, limits[-1]), 0
                sums = look.sums(count)
            if max(sums.values(), default=0.0) >= STRANGE_REACH * ceiling:
                break
        return _ranked(sums, ceiling, {word: term.idf for word, term in pairs.items()})

    def _look(
        self, pairs: list[Clause], stems: list[Clause], filters: Filters, limit: int
    ) -> _Look:
        return _Look(
            self._hits(self._windows, pairs, filters, limit),
            self._hits(self._passages, stems, filters, limit),
        )

    def _hits(
        self, searcher: tantivy.Searcher, clauses: list[Clause], filters: Filters, limit: int
    ) -> _Hits:
        query = tantivy.Query.boolean_query(clauses)
        if not filters.empty:
            query = self._limited(query, filters)
        return _Hits(searcher, searcher.search(query, limit, count=False).hits)

    def _known(self, field: Field, language: Language) -> _Terms:
        known = self._terms.get((field, language))
        if known is None:
            known = self._terms[field, language] = _Terms(partial(self._weigh, field, language))
        return known

    def _weigh(self, field: Field, language: Language, word: str) -> _Term:
        """Count a term among the passages of one language.

        In a mixed corpus every Korean ending is rare, because the English half does not have
        it; counted among Korean passages it is as common as it reads. A term of no passage
        weighs as one of a single passage: in a corpus of ten the formula's own value would let
        it outweigh every word that was found.
        """
        count = max(1, self._passages.doc_freq(field, word))
        wanted = _idf(max(self._by_language[language], count), count)
        if word in ASKING[language][field]:
            wanted *= ASKING_SHARE
        given = _idf(max(self._total, count), count)
        term = tantivy.Query.term_query(self._schema, field, word, "freq")
        boosted = tantivy.Query.boost_query(term, SHARES[field] * wanted / given)
        ceiling = BM25_CEILING * SHARES[field] * wanted
        return _Term(wanted, ceiling, (tantivy.Occur.Should, boosted))

    def _limited(self, scored: tantivy.Query, filters: Filters) -> tantivy.Query:
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


def _ranked(sums: Mapping[int, float], ceiling: float, idf: dict[str, float]) -> LexicalHits:
    if not sums:
        return NOTHING
    rows = sorted(sums)  # the sort by score is stable, so ties stay in the order of rows
    rows.sort(key=sums.__getitem__, reverse=True)
    scores = [sums[row] for row in rows]
    return LexicalHits(
        tuple(rows),
        tuple(scores),
        top=scores[0],
        gap=scores[0] - (scores[1] if len(scores) > 1 else 0.0),
        reach=min(1.0, scores[0] / ceiling),
        idf=idf,
    )


def _idf(total: int, count: int) -> float:
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


def _heavy(terms: Mapping[str, _Term]) -> list[Clause]:
    least = PRUNED_SHARE * max([term.idf for term in terms.values()], default=0.0)
    return [term.clause for term in terms.values() if term.idf >= least]


def _all(terms: Mapping[str, _Term]) -> list[Clause]:
    return [term.clause for term in terms.values()]
