"""The lexical leg: BM25 over stems of whole passages, and over pairs of syllables of windows.

A stem says more than a pair when it matches, so it may stand anywhere in the passage; pairs
need no dictionary but meet by chance, so they count where they stand together. Asking both
fields of both indexes ranks ordinary questions alike at almost twice the terms; it finds more for
paraphrases, whose words the corpus lacks and for which vectors are there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
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

Find = Callable[[str], tuple[int, int, int]]
# Raw BM25 scores of both are added with these weights; .7 to 1 rank the dev sets alike.
SHARES: Mapping[Field, float] = {"bigrams": 1.0, "stems": 0.75}
CUTS: Mapping[Field, Callable[[str], list[str]]] = {
    "bigrams": tokens.normal_bigrams,
    "stems": tokens.normal_stems,
}
# Terms that weigh less than this share of the question's heaviest are not looked up: they
# have the longest lists and change next to nothing.
PRUNED_SHARE = 0.1
# With fewer passages than this share of those wished for, they are looked up after all. Above it
# the dev sets rank alike.
ENOUGH_SHARE = 2 / 3
KEPT = 20_000  # words, and terms, of each field and language
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


class _Terms:
    """The terms of one field and language that were asked for, each looked up and weighed once.

    A term is the number of a line of `table`: where its postings begin and end, and its weight. In
    one table, because a tuple each would be several walks to memory for every term.

    In a mixed corpus every Korean ending is rare, because the English half does not have it;
    counted among `total` Korean passages it is as common as it reads. A term of no passage weighs
    as one of a single passage: in a corpus of ten the formula's own value would let it outweigh
    every word that was found.
    """

    def __init__(self, find: Find, field: Field, language: Language, *, total: int) -> None:
        self.table: Table = np.zeros((TERMS_AT_FIRST, FIELDS))
        self._find = find
        self._cut = CUTS[field]
        self._share = SHARES[field]
        self._asking = ASKING[language][field]
        self._total = total
        self._numbers: dict[str, int] = {}
        # No term reaches from one word into the next.
        self._words: dict[str, tuple[int, ...]] = {}
        self._adding = threading.Lock()
        self.table[UNKNOWN, 2] = self._weight(0)

    def __len__(self) -> int:
        return max(len(self._numbers), len(self._words))

    def of(self, words: Sequence[str]) -> NDArray[np.int64]:
        """The number of each term of the words, once; terms of no passage have one together."""
        strange: set[str] = set()
        known = [
            self._read(word, strange) if (one := self._words.get(word)) is None else one
            for word in words
        ]
        numbers = [*dict.fromkeys(chain.from_iterable(known)), *[UNKNOWN] * len(strange)]
        return np.array(numbers, np.int64)

    def idf(self, terms: Sequence[str]) -> dict[str, float]:
        """The weight of each term, without the share of its field."""
        weights = self.table[[self._number(term) for term in terms], 2] / self._share
        return dict(zip(terms, weights.tolist(), strict=True))

    def _read(self, word: str, strange: set[str]) -> tuple[int, ...]:
        terms = self._cut(word)
        numbers = [*map(self._number, terms)]
        if UNKNOWN not in numbers and len(word) <= tokens.LONGEST_KEPT:
            # Only such words are kept: of the others there is no end.
            self._words[word] = tuple(numbers)
        strange.update(term for term, number in zip(terms, numbers, strict=True) if not number)
        return tuple(filter(None, numbers))

    def _number(self, term: str) -> int:
        known = self._numbers.get(term)
        return self._add(term) if known is None else known

    def _add(self, term: str) -> int:
        begin, end, count = self._find(term)
        asks = term in self._asking
        if not count and not asks:
            return UNKNOWN
        weight = self._weight(count) * (ASKING_SHARE if asks else 1)
        with self._adding:
            number = len(self._numbers) + 1
            if number == len(self.table):
                # A new one, because a search in another thread may be reading the old one.
                self.table = np.concatenate([self.table, np.zeros_like(self.table)])
            table = self.table
            table[number, 0], table[number, 1], table[number, 2] = begin, end, weight
            return self._numbers.setdefault(term, number)

    def _weight(self, count: int) -> float:
        count = max(1, count)
        total = max(self._total, count)
        return self._share * math.log(1 + (total - count + 0.5) / (count + 0.5))


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
        words = tokens.normal(text).split()
        fields = self._known("bigrams", language), self._known("stems", language)
        terms = fields[0].of(words), fields[1].of(words)
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
        return self._known("bigrams", language).idf(tokens.bigrams(text))

    def _known(self, field: Field, language: Language) -> _Terms:
        known = self._terms.get((field, language))
        if known is None or len(known) > KEPT:
            find, total = self._dictionaries[field].find, self._passages[language]
            known = self._terms[field, language] = _Terms(find, field, language, total=total)
        return known
