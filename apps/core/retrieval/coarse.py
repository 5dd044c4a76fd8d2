"""A first look at every vector along a few axes, so that the exact look is at few vectors.

A scan of 10,000 vectors of 384 is 15 MB of memory traffic, more than the arithmetic costs. Along
the 96 principal axes it is 4 MB; the best 400 there are then scored in full. On 9,700 passages
and 180 questions in e5 that keeps .994 of the exact leading ten, in a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.core.artifacts.vectors import BLOCK_ROWS
from apps.core.domain.ports import FloatArray

AXES = 96
CANDIDATES = 400
# Below this many rows the exact scan is as fast.
WORTH_ROWS = 4_000
SAMPLE_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class Coarse:
    """The principal axes, (dims, 96), and every row along them, (rows, 96)."""

    axes: FloatArray
    rows: FloatArray

    def candidates(
        self, question: FloatArray, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """The rows that look best; a row without a vector lies at the origin."""
        scores = self.rows @ (question @ self.axes)
        if allowed is not None:
            scores[~allowed] = -np.inf
        return np.argpartition(scores, -CANDIDATES)[-CANDIDATES:]


def fit(part: Callable[[slice], FloatArray], *, rows: int, dims: int) -> Coarse | None:
    """Find the axes from a sample and turn every row; None where it would not pay.

    Args:
        part: gives centred unit vectors of some rows, a row without a vector as zeros.
        rows: how many there are.
        dims: their length.
    """
    if rows < WORTH_ROWS or dims <= 2 * AXES:
        return None
    sample = part(slice(0, rows, max(1, rows // SAMPLE_ROWS)))
    _, vectors = np.linalg.eigh(sample.T @ sample)  # eigenvalues ascend
    axes = np.ascontiguousarray(vectors[:, -AXES:], np.float32)
    turned = np.empty((rows, AXES), np.float32)
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        turned[block] = part(block) @ axes
    return Coarse(axes, turned)
