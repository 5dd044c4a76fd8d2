"""How two legs become one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.ports import FloatArray
from apps.core.retrieval import plain
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.loops import Loop
from apps.core.retrieval.plain import Rows

RRF_K = 60
# A question whose best passage reaches this share of the highest possible BM25 is one that the
# lexical leg understands. Dev sets: ordinary questions .24 to .55, paraphrases .07 to .17,
# questions in the other language .05 to .18 (tenth to ninetieth percentile).
UNDERSTOOD_REACH = 0.3
# The lexical leg is deaf to a passage in another language than the question, which is no evidence
# against it: it is taken to have said this share of what the dense leg says.
DEAF_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Leg:
    """What one leg found, best first, each row once; both (rows,)."""

    rows: Rows
    scores: FloatArray


@dataclass(frozen=True, slots=True)
class Fused:
    """Rows with their scores in 0..1, best first, ties by row, and each leg's scaled score."""

    rows: Sequence[int]
    scores: Sequence[float]
    lexical: Sequence[float | None]
    dense: Sequence[float | None]


def lexical_weight(reach: float, dense_weight: float) -> float:
    """How much the lexical leg says: less and less when `reach` falls below the understood.

    When the words of a question are not in the corpus (a paraphrase, another language), whatever
    they did hit is chance.
    """
    return (1 - dense_weight) * min(1.0, reach / UNDERSTOOD_REACH)


def convex(
    lexical: Leg,
    dense: Leg,
    *,
    weight: float,
    foreign: BoolArray | None = None,
    join: Loop = plain.convex,
) -> Fused:
    """Join scaled scores; `weight` is the lexical leg's, the dense leg has the rest.

    BM25 is min-max scaled over the leg's candidates, a cosine is divided by the leg's best: nought
    is where centred vectors have nothing in common, and a large corpus has many good neighbours
    that min-max would pull apart. A row that a leg did not find gets nothing from it, but for
    the dense rows that are `foreign` (see `DEAF_SHARE`). A leg that found nothing has no weight.

    Source: Bruch, Gai, Ingber 2023, "An analysis of fusion functions for hybrid retrieval",
    ACM TOIS 42(1), with its theoretical minimum for the dense leg.
    """
    if not len(dense.rows):
        return alone(lexical)
    words, meaning = (lexical.rows, _scaled(lexical.scores)), (dense.rows, _shared(dense.scores))
    if not len(lexical.rows):
        weight = 0.0
    if foreign is None:
        foreign = np.zeros(len(dense.rows), np.bool_)
    rows, scores, of_words, of_meaning = join(words, meaning, foreign, weight, DEAF_SHARE)
    return Fused(rows.tolist(), scores.tolist(), _known(of_words), _known(of_meaning))


def alone(lexical: Leg) -> Fused:
    """The lexical leg's own order, scaled."""
    shares = _scaled(lexical.scores).tolist()
    return Fused(lexical.rows.tolist(), shares, shares, [None] * len(shares))


def reciprocal_rank(lexical: Leg, dense: Leg) -> Fused:
    """Join places: 1 / (60 + place), scaled so that first in both legs is 1.

    Source: Cormack, Clarke, Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and
    individual rank learning methods", SIGIR; k = 60 is theirs.
    """
    sums: dict[int, float] = {}
    for leg in (lexical, dense):
        for place, row in enumerate(leg.rows.tolist(), start=1):
            sums[row] = sums.get(row, 0.0) + (RRF_K + 1) / 2 / (RRF_K + place)
    words = dict(zip(lexical.rows.tolist(), _scaled(lexical.scores).tolist(), strict=True))
    meaning = dict(zip(dense.rows.tolist(), _shared(dense.scores).tolist(), strict=True))
    rows = sorted(sums, key=lambda row: (-sums[row], row))
    return Fused(
        rows, [sums[row] for row in rows], [*map(words.get, rows)], [*map(meaning.get, rows)]
    )


def agreement(lexical: Leg, dense: Leg) -> float | None:
    """Mean share of one leg's first five that the other leg has among its first ten."""
    if not len(lexical.rows) or not len(dense.rows):
        return None
    words, meaning = lexical.rows[:10].tolist(), dense.rows[:10].tolist()
    return (_share(words, meaning) + _share(meaning, words)) / 2


def _share(one: Sequence[int], other: Sequence[int]) -> float:
    return len(set(one[:5]) & set(other)) / len(one[:5])


def _scaled(scores: FloatArray) -> FloatArray:
    if not len(scores):
        return scores
    low, high = scores[-1], scores[0]
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def _shared(scores: FloatArray) -> FloatArray:
    if not len(scores) or scores[0] <= 0:
        return _scaled(scores)
    shares: FloatArray = np.maximum(scores / scores[0], 0)
    return shares


def _known(scores: NDArray[np.float64]) -> list[float | None]:
    return [None if isnan(score) else score for score in scores.tolist()]
