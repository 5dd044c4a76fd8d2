"""The lexical leg: BM25 over stems of whole passages, and over pairs of syllables of windows.

A stem says more than a pair when it matches, so it may stand anywhere in the passage; pairs
need no dictionary but meet by chance, so they count where they stand together. Asking both
fields of both indexes ranks ordinary questions alike at almost twice the terms; it finds more for
paraphrases, whose words the corpus lacks and for which vectors are there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.models import Language
from apps.core.domain.ports import FloatArray
from apps.core.retrieval import grains
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.grains import Dictionary
from apps.core.retrieval.loops import Loops
from apps.core.retrieval.plain import EVERY_ROW, FIELDS, Table
from apps.core.text import tokens
from apps.core.text.asking import ASKING, Field

# Raw BM25 scores of both are added with these weights; .7 to 1 rank the dev sets alike.
Find = Callable[[str], tuple[int, int, int]]
SHARES: Mapping[Field, float] = {"bigrams": 1.0, "stems": 0.75}
# Terms that weigh less than this share of the question's heaviest are not looked up: they
# have the longest lists and change next to nothing.
PRUNED_SHARE = 0.1
# With fewer passages than this share of those wished for, they are looked up after all. Above it
# the dev sets rank alike.
ENOUGH_SHARE = 2 / 3
TERMS_KEPT = 10_000  # of each field and language
TERMS_AT_FIRST = 1_024
UNKNOWN = 0  # the number of every word of no passage
# Of its weight, for a word that only asks. Counted in a question's own language: "it" is a word
# of an English question, and the trade in a Korean one. On the dev sets .15 is worse for English
# (half a point of first hits on xquad-en) and .5 alike for Korean; no other share was tried.
ASKING_SHARE = 0.3
# A question of so little reach is a paraphrase or in another language: the passages that vectors
# find for it share a few words at most, so more of them are looked for. Dev sets, tenth
# percentile: ordinary questions .24 and more; ninetieth: paraphrases .17, the other language .18.
STRANGE_REACH = 0.2


class LexicalHits(NamedTuple):
    """Rows with their scores, best first; ties by row.

    top: the best raw score.
    reach: `top` as a share of what a passage full of every query term would get, 0..1. It says
        whether the corpus speaks the question's words at all.
    """

    rows: NDArray[np.int32]
    scores: FloatArray
    top: float
    reach: float

    @property
    def gap(self) -> float:
        """The lead of the best raw score over the second."""
        return self.top - float(self.scores[1]) if len(self.scores) > 1 else self.top


NOTHING = LexicalHits(np.zeros(0, np.int32), np.zeros(0, np.float32), 0.0, 0.0)


class _Terms(dict[str, int]):
    """The terms of one field and language that were asked for, each looked up and weighed once.

    A term is the number of a line of `table`: where its postings begin and end, and its weight. In
    one table, because a tuple each would be several walks to memory for every term.

    In a mixed corpus every Korean ending is rare, because the English half does not have it;
    counted among `total` Korean passages it is as common as it reads. A term of no passage weighs
    as one of a single passage: in a corpus of ten the formula's own value would let it outweigh
    every word that was found.
    """

    def __init__(self, find: Find, field: Field, language: Language, *, total: int) -> None:
        super().__init__()
        self.table: Table = np.zeros((TERMS_AT_FIRST, FIELDS))
        self._find = find
        self._share = SHARES[field]
        self._asking = ASKING[language][field]
        self._total = total
        self._adding = threading.Lock()
        self.table[UNKNOWN, 2] = self._weight(0)

    def of(self, words: Iterable[str]) -> NDArray[np.int64]:
        """The number of each word, once; words of no passage have one number together."""
        return np.array([self[word] for word in dict.fromkeys(words)], np.int64)

    def __missing__(self, word: str) -> int:
        begin, end, count = self._find(word)
        asks = word in self._asking
        if not count and not asks:
            return UNKNOWN  # and not kept: there is no end of such words
        weight = self._weight(count) * (ASKING_SHARE if asks else 1)
        with self._adding:
            number = len(self) + 1
            if number == len(self.table):
                # A new one, because a search in another thread may be reading the old one.
                self.table = np.concatenate([self.table, np.zeros_like(self.table)])
            table = self.table
            table[number, 0], table[number, 1], table[number, 2] = begin, end, weight
            return self.setdefault(word, number)

    def _weight(self, count: int) -> float:
        count = max(1, count)
        return self._share * _idf(max(self._total, count), count)


class LexicalLeg:
    """The lexical leg of an open version."""

    def __init__(self, directory: Path, passages: Mapping[Language, int], *, loops: Loops) -> None:
        """Open `directory`; `passages` counts those of each language."""
        self._loops = loops
        self._grains = grains.read(directory)
        self._columns = (
            (self._grains.windows.docs, self._grains.impacts[1]),
            (self._grains.passages.docs, self._grains.impacts[0]),
        )
        self._dictionaries = {field: Dictionary(self._grains, field) for field in SHARES}
        rows = len(self._grains.passages.lengths)
        self._firsts = np.searchsorted(self._grains.owners, np.arange(rows + 1))
        self._passages = passages
        # Not lru_cache: it would hold this leg, and with it the files of a replaced version.
        self._terms: dict[tuple[Field, Language], _Terms] = {}

    def search(
        self,
        text: str,
        *,
        language: Language,
        allowed: BoolArray | None,
        limit: int,
        strange_limit: int = 0,
    ) -> LexicalHits:
        """Find passages that share terms with `text`; a passage counts by its best window.

        Args:
            language: the question's.
            allowed: (rows,) which passages may be found; None for all.
            limit: how many.
            strange_limit: how many where the best passage stays below `STRANGE_REACH`.
        """
        plain = tokens.normal(text)
        fields = self._known("bigrams", language), self._known("stems", language)
        terms = fields[0].of(tokens.normal_bigrams(plain)), fields[1].of(tokens.normal_stems(plain))
        tables = fields[0].table, fields[1].table
        most = max(limit, strange_limit)
        may = EVERY_ROW if allowed is None else allowed
        at = self._columns, self._grains.owners, self._firsts, may, most
        rows, scores, full, left_out = self._loops.best_rows(terms, tables, PRUNED_SHARE, *at)
        if left_out and len(rows) < ENOUGH_SHARE * most:
            # What was left out may be all that some passages share with the question.
            rows, scores, full, _ = self._loops.best_rows(terms, tables, 0.0, *at)
        if not len(rows):
            return NOTHING
        top = float(scores[0])
        if top >= STRANGE_REACH * full:
            rows, scores = rows[:limit], scores[:limit]
        return LexicalHits(rows, scores, top, min(1.0, top / full))

    def idf(self, text: str, language: Language) -> dict[str, float]:
        """The weight of each pair; one of no passage weighs as one of a single passage."""
        words = tokens.bigrams(text)
        known = self._known("bigrams", language)
        numbers = [known[word] for word in words]
        weights = known.table[numbers, 2] / SHARES["bigrams"]
        return dict(zip(words, weights.tolist(), strict=True))

    def _known(self, field: Field, language: Language) -> _Terms:
        known = self._terms.get((field, language))
        if known is None or len(known) > TERMS_KEPT:
            find, total = self._dictionaries[field].find, self._passages[language]
            known = self._terms[field, language] = _Terms(find, field, language, total=total)
        return known


def _idf(total: int, count: int) -> float:
    return math.log(1 + (total - count + 0.5) / (count + 0.5))
