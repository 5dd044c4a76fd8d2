"""Two legs joined into one order, compiled; see `plain.convex`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.ports import FloatArray
from apps.core.retrieval.compiling import compiled
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.plain import Joined, Rows


@compiled
def _scaled(scores: FloatArray) -> NDArray[np.float64]:
    """See `plain.scaled`."""
    shares = np.ones(len(scores))
    if len(scores) > 0 and scores[0] > scores[-1]:
        low = np.float64(scores[-1])
        width = np.float64(scores[0]) - low
        for place in range(len(scores)):
            shares[place] = (np.float64(scores[place]) - low) / width
    return shares


@compiled
def _shared(scores: FloatArray) -> NDArray[np.float64]:
    """See `plain.shared`."""
    if len(scores) == 0 or scores[0] <= 0:
        return _scaled(scores)
    shares = np.empty(len(scores))
    for place in range(len(scores)):
        shares[place] = max(np.float64(scores[place]) / np.float64(scores[0]), 0.0)
    return shares


@compiled
def _order(sums: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places by their sums, highest first, ties by row."""
    order = np.empty(len(sums), np.int64)
    for place in range(len(sums)):
        at = place
        while at > 0 and (
            sums[place] > sums[order[at - 1]]
            or (sums[place] == sums[order[at - 1]] and rows[place] < rows[order[at - 1]])
        ):
            order[at] = order[at - 1]
            at -= 1
        order[at] = place
    return order


@compiled
def convex(
    lexical: tuple[Rows, FloatArray],
    dense: tuple[Rows, FloatArray],
    foreign: BoolArray,
    weight: float,
    deaf_share: float,
) -> Joined:
    """Rows, joint scores, and each leg's own, NaN where it lacks the row; see `fusion.convex`."""
    lexical_scores, dense_scores = _scaled(lexical[1]), _shared(dense[1])
    count = len(lexical[0]) + len(dense[0])
    rows = np.empty(count, np.int64)
    sums = np.empty(count, np.float64)
    words, meaning = np.full(count, np.nan), np.full(count, np.nan)
    held = len(lexical[0])
    for place in range(held):
        rows[place], words[place] = lexical[0][place], lexical_scores[place]
        sums[place] = weight * words[place]
    for other in range(len(dense[0])):
        row, score = dense[0][other], dense_scores[other]
        place = 0
        while place < len(lexical[0]) and rows[place] != row:
            place += 1
        if place == len(lexical[0]):
            place = held
            held += 1
            rows[place] = row
            sums[place] = weight * deaf_share * score if foreign[other] else 0.0
        sums[place] += (1 - weight) * score
        meaning[place] = score
    order = _order(sums[:held], rows)
    for place in range(held):
        sums[place] = min(1.0, max(0.0, sums[place]))
    return rows[order], sums[order], words[order], meaning[order]
