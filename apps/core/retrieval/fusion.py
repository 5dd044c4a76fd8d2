"""How two legs become one order."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple, Protocol

import numpy as np

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


class Leg(Protocol):
    """What one leg found, best first, each row once; both (rows,)."""

    @property
    def rows(self) -> Rows:
        """Numbers of passages."""
        ...

    @property
    def scores(self) -> FloatArray:
        """Raw scores, of the leg's own scale."""
        ...


class Fused(NamedTuple):
    """Rows with their scores in 0..1, best first, ties by row, and each leg's scaled score.

    candidates: how many rows the legs found together.
    """

    rows: Sequence[int]
    scores: Sequence[float]
    lexical: Sequence[float | None]
    dense: Sequence[float | None]
    candidates: int


def lexical_weight(reach: float, dense_weight: float) -> float:
    """How much the lexical leg says: less and less when `reach` falls below the understood.

    When the words of a question are not in the corpus (a paraphrase, another language), whatever
    they did hit is chance.
    """
    return (1 - dense_weight) * min(1.0, reach / UNDERSTOOD_REACH)


def convex(
    lexical: Leg,
    dense: Leg,
    limit: int,
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
        return alone(lexical, limit)
    if not len(lexical.rows):
        weight = 0.0
    if foreign is None:
        foreign = np.zeros(len(dense.rows), np.bool_)
    legs = (lexical.rows, lexical.scores), (dense.rows, dense.scores)
    found = join(*legs, foreign, weight, DEAF_SHARE)
    rows, scores, words, meaning = (column[:limit].tolist() for column in found)
    return Fused(rows, scores, _known(words), _known(meaning), len(found[0]))


def alone(lexical: Leg, limit: int) -> Fused:
    """The lexical leg's own order, scaled."""
    scores = lexical.scores.tolist()
    shares = plain.scaled(scores)[:limit]
    rows = lexical.rows[:limit].tolist()
    return Fused(rows, shares, shares, [None] * len(rows), len(scores))


def reciprocal_rank(lexical: Leg, dense: Leg, limit: int) -> Fused:
    """Join places: 1 / (60 + place), scaled so that first in both legs is 1.

    Source: Cormack, Clarke, Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and
    individual rank learning methods", SIGIR; k = 60 is theirs.
    """
    sums: dict[int, float] = {}
    for leg in (lexical, dense):
        for place, row in enumerate(leg.rows.tolist(), start=1):
            sums[row] = sums.get(row, 0.0) + (RRF_K + 1) / 2 / (RRF_K + place)
    scaled = plain.scaled(lexical.scores.tolist()), plain.shared(dense.scores.tolist())
    words = dict(zip(lexical.rows.tolist(), scaled[0], strict=True))
    meaning = dict(zip(dense.rows.tolist(), scaled[1], strict=True))
    rows = sorted(sums, key=lambda row: (-sums[row], row))[:limit]
    scores = [sums[row] for row in rows]
    return Fused(rows, scores, [*map(words.get, rows)], [*map(meaning.get, rows)], len(sums))


def agreement(lexical: Leg, dense: Leg) -> float | None:
    """Mean share of one leg's first five that the other leg has among its first ten."""
    if not len(lexical.rows) or not len(dense.rows):
        return None
    words, meaning = lexical.rows[:10].tolist(), dense.rows[:10].tolist()
    return (_share(words, meaning) + _share(meaning, words)) / 2


def _share(one: Sequence[int], other: Sequence[int]) -> float:
    return len(set(one[:5]) & set(other)) / len(one[:5])


def _known(scores: Sequence[float]) -> list[float | None]:
    return [None if isnan(score) else score for score in scores]
