"""How much of one text is found in another, each term weighed by how rare it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from apps.core.text.tokens import stems

Terms = frozenset[str]


def terms(text: str) -> Terms:
    """Character pairs of Korean words stripped of particles, stems of other words.

    Source: DELIBERATION 6.2 of the project's design; pairs forgive a different verb ending.
    """
    return of_stems(stems(text))


def of_stems(words: Iterable[str]) -> Terms:
    """`terms` of a text that is already cut into stems."""
    return frozenset(pair for stem in words for pair in pairs(stem))


def pairs(stem: str) -> tuple[str, ...]:
    """The overlapping character pairs of a Korean stem; another stem stands for itself."""
    if stem.isascii() or len(stem) <= 2 or stem[0].isdigit():
        return (stem,)
    return tuple(map(str.__add__, stem, stem[1:]))


@dataclass(frozen=True, slots=True)
class Rarity:
    """Inverse document frequency of terms over some texts; an unseen term weighs the most."""

    frequency: Counter[str]
    texts: int

    @classmethod
    def over(cls, texts: Iterable[Collection[str]]) -> Rarity:
        """Count in how many of `texts` (sets of terms) each term occurs."""
        sets = [frozenset(text) for text in texts]
        return cls(Counter(term for text in sets for term in text), len(sets))

    def weight(self, term: str) -> float:
        """The BM25 form, ln(1 + (N - n + .5) / (n + .5)), never negative.

        Source: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and
        Beyond", with the +1 of Lucene's BM25Similarity.
        """
        seen = self.frequency.get(term, 0)
        return math.log(1 + (self.texts - seen + 0.5) / (seen + 0.5))

    def wanted(self, sought: Terms) -> Wanted:
        """The terms of a question or a claim with their weights."""
        weights = {term: self.weight(term) for term in sought}
        return Wanted(sought, weights, sum(weights.values()))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Terms that are looked for, each with its weight."""

    terms: Terms
    weights: dict[str, float]
    total: float

    def recall(self, found: Terms) -> float:
        """Share (0..1) of the weight that `found` holds; 0 when nothing is wanted."""
        weights = self.weights
        return sum([weights[term] for term in self.terms & found]) / (self.total or 1.0)
