"""How two legs become one order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

RRF_K = 60
# A question whose best passage reaches this share of the highest possible BM25 is one that the
# lexical leg understands. Dev sets: ordinary questions .24 to .55, paraphrases .07 to .17,
# questions in the other language .05 to .18 (tenth to ninetieth percentile).
UNDERSTOOD_REACH = 0.3
# The lexical leg is deaf to a passage in another language than the question, which is no evidence
# against it: it is taken to have said this share of what the dense leg says.
DEAF_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Leg:
    """What one leg found, best first, each row once."""

    rows: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fused:
    """Rows with their scores in 0..1, best first, ties by row, and each leg's scaled score."""

    rows: tuple[int, ...]
    scores: tuple[float, ...]
    lexical: dict[int, float]
    dense: dict[int, float]


def lexical_weight(reach: float, dense_weight: float) -> float:
    """How much the lexical leg says: less and less when `reach` falls below the understood.

    When the words of a question are not in the corpus (a paraphrase, another language), whatever
    they did hit is chance.
    """
    return (1 - dense_weight) * min(1.0, reach / UNDERSTOOD_REACH)


def convex(lexical: Leg, dense: Leg, *, weight: float, foreign: Collection[int] = ()) -> Fused:
    """Join scaled scores; `weight` is the lexical leg's, the dense leg has the rest.

    BM25 is min-max scaled over the leg's candidates, a cosine is divided by the leg's best: nought
    is where centred vectors have nothing in common, and a large corpus has many good neighbours
    that min-max would pull apart. A row that a leg did not find gets nothing from it, but for
    the rows of `foreign` (see `DEAF_SHARE`). A leg that found nothing has no weight.

    Source: Bruch, Gai, Ingber 2023, "An analysis of fusion functions for hybrid retrieval",
    ACM TOIS 42(1), with its theoretical minimum for the dense leg.
    """
    if not dense.rows:
        return alone(lexical)
    words, meaning = _scaled(lexical), _shared(dense)
    if not words:
        weight = 0.0
    sums = {row: weight * score for row, score in words.items()}
    near, heard = 1 - weight, 1 - weight + weight * DEAF_SHARE
    for row, score in meaning.items():
        known = sums.get(row)
        if known is not None:
            sums[row] = known + near * score
        else:
            sums[row] = (heard if row in foreign else near) * score
    return _ordered(sums, words, meaning)


def alone(lexical: Leg) -> Fused:
    """The lexical leg's own order, scaled."""
    words = _scaled(lexical)
    return Fused(lexical.rows, tuple(words.values()), words, {})


def reciprocal_rank(lexical: Leg, dense: Leg) -> Fused:
    """Join places: 1 / (60 + place), scaled so that first in both legs is 1.

    Source: Cormack, Clarke, Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and
    individual rank learning methods", SIGIR; k = 60 is theirs.
    """
    sums: dict[int, float] = {}
    for leg in (lexical, dense):
        for place, row in enumerate(leg.rows, start=1):
            sums[row] = sums.get(row, 0.0) + (RRF_K + 1) / 2 / (RRF_K + place)
    return _ordered(sums, _scaled(lexical), _shared(dense))


def agreement(lexical: Leg, dense: Leg) -> float | None:
    """Mean share of one leg's first five that the other leg has among its first ten."""
    if not lexical.rows or not dense.rows:
        return None
    return (_share(lexical.rows, dense.rows) + _share(dense.rows, lexical.rows)) / 2


def _share(one: Sequence[int], other: Sequence[int]) -> float:
    return len(set(one[:5]) & set(other[:10])) / len(one[:5])


def _scaled(leg: Leg) -> dict[int, float]:
    if not leg.rows:
        return {}
    low, high = leg.scores[-1], leg.scores[0]
    if high <= low:
        return dict.fromkeys(leg.rows, 1.0)
    width = high - low
    return {row: (score - low) / width for row, score in zip(leg.rows, leg.scores, strict=True)}


def _shared(leg: Leg) -> dict[int, float]:
    if not leg.rows or leg.scores[0] <= 0:
        return _scaled(leg)
    top = leg.scores[0]
    return {row: score / top for row, score in zip(leg.rows, leg.scores, strict=True)}


def _ordered(sums: dict[int, float], lexical: dict[int, float], dense: dict[int, float]) -> Fused:
    rows = sorted(sums)  # the sort by score is stable, so ties stay in the order of rows
    rows.sort(key=sums.__getitem__, reverse=True)
    scores = [sums[row] for row in rows]
    if scores and not 0 <= scores[-1] <= scores[0] <= 1:
        scores = [min(1.0, max(0.0, score)) for score in scores]
    if dense and min(dense.values()) < 0:
        dense = {row: max(0.0, score) for row, score in dense.items()}
    return Fused(tuple(rows), tuple(scores), lexical, dense)
