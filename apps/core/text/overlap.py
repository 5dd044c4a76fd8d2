"""How much of one text is found in another, each term weighed by how rare it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from apps.core.text.tokens import stems

Terms = frozenset[str]
# Another word for the same thing is not quite the same thing.
LIKE = 0.7

# Pairs of Korean verb endings, words that only hold a Korean sentence together, and English
# function words say how, not what: "했다" and "했습니다" mean the same, and an ending of a
# question ("하나요") would weigh the most because no passage has it.
EMPTY_LIST = """
습니 니다 었습 았습 였습 했습 됐습 합니 됩니 입니 있습 었다 았다 였다 했다 됐다 한다 된다 이다 있다
하는 되는 하고 되고 하며 되며 하여 되어 해서 하였 하였다 되었 있는 것이 것은 것을 이며 으며 이고
어요 아요 해요 예요 하나 나요 있나 되나 는가 은가 하면 되면 으면 려면 하려 하기 되기
수 것 때 중 등 및 있 되 할 위한 대한 대해 위해
a an the of in on at to for by with and or is are was were be been has have had it its that this as
from do did does what which who when where why how
"""
EMPTY: Terms = frozenset(EMPTY_LIST.split())


def terms(text: str) -> Terms:
    """Character pairs of Korean words stripped of particles, stems of other words; no endings.

    Source: DELIBERATION 6.2 of the project's design; pairs forgive a different verb ending.
    """
    return of_stems(stems(text))


def of_stems(words: Iterable[str]) -> Terms:
    """`terms` of a text that is already cut into stems."""
    return frozenset([pair for stem in words for pair in pairs(stem)]) - EMPTY


def pairs(stem: str) -> tuple[str, ...]:
    """The overlapping character pairs of a Korean stem; another stem stands for itself."""
    if stem.isascii() or len(stem) <= 2 or stem[0].isdigit():
        return (stem,)
    return tuple(map(str.__add__, stem, stem[1:]))


@dataclass(frozen=True, slots=True)
class Rarity:
    """Inverse document frequency of terms over some texts.

    An unseen term weighs as much as one seen `unseen` times: 0 makes what is missing expensive,
    1 treats a missing word like any rare one, as another word for the same thing may be there.
    """

    frequency: Counter[str]
    texts: int
    unseen: int = 0

    @classmethod
    def over(cls, texts: Iterable[Collection[str]], *, unseen: int = 0) -> Rarity:
        """Count in how many of `texts` (sets of terms) each term occurs."""
        sets = [frozenset(text) for text in texts]
        return cls(Counter(term for text in sets for term in text), len(sets), unseen)

    def weight(self, term: str) -> float:
        """The BM25 form, ln(1 + (N - n + .5) / (n + .5)), never negative.

        Source: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and
        Beyond", with the +1 of Lucene's BM25Similarity.
        """
        seen = self.frequency.get(term, self.unseen)
        return math.log(1 + (self.texts - seen + 0.5) / (seen + 0.5))

    def wanted(self, sought: Terms, instead: Iterable[Instead] = ()) -> Wanted:
        """The terms of a question or a claim with their weights."""
        weights = {term: self.weight(term) for term in sought}
        return Wanted(sought, weights, sum(weights.values()), tuple(instead))


@dataclass(frozen=True, slots=True)
class Instead:
    """The terms of one word, and those of each other word for the same thing."""

    terms: Terms
    others: tuple[Terms, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Terms that are looked for, each with its weight, and what counts nearly as much."""

    terms: Terms
    weights: dict[str, float]
    total: float
    instead: tuple[Instead, ...] = ()

    def recall(self, found: Terms) -> float:
        """Share (0..1) of the weight that `found` holds; 0 when nothing is wanted."""
        weights = self.weights
        held = sum([weights[term] for term in self.terms & found])
        for word in self.instead:
            lacking = word.terms - found
            if lacking and any(other <= found for other in word.others):
                held += LIKE * sum([weights[term] for term in lacking])
        return held / (self.total or 1.0)
