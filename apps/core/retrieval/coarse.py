"""A first look at every vector along a few axes, so that the exact look is at few vectors.

A scan of 10,000 vectors of 384 is 15 MB of memory traffic, more than the arithmetic costs. Along
the principal axes it is a third of that, and the best of them are then scored in full;
`python -m bench.dense` prints how many of the exact leaders that keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.core.artifacts.vectors import BLOCK_ROWS
from apps.core.domain.ports import FloatArray

AXES = 128
CANDIDATES = 200
# Below this many rows the exact scan is as fast.
WORTH_ROWS = 4_000
SAMPLE_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class Coarse:
    """The principal axes, (dims, 128), and every row along them, (128, rows)."""

    axes: FloatArray
    turned: FloatArray

    def candidates(
        self, question: FloatArray, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """The rows that look best; a row without a vector lies at the origin."""
        scores = (question @ self.axes) @ self.turned
        if allowed is not None:
            scores[~allowed] = -np.inf
        # numpy partitions values on all lanes but positions one by one.
        least = np.partition(scores, -CANDIDATES)[-CANDIDATES]
        best = scores >= least
        return np.flatnonzero(best if allowed is None else best & allowed)


def fit(part: Callable[[slice], FloatArray], *, rows: int, dims: int) -> Coarse | None:
    """Find the axes from a sample and turn every row; None where it would not pay.

    Args:
        part: gives centred unit vectors of some rows, a row without a vector as zeros.
        rows: how many there are.
        dims: their length.
    """
    if rows < WORTH_ROWS or dims < 2 * AXES:
        return None
    sample = part(slice(0, rows, max(1, rows // SAMPLE_ROWS)))
    _, vectors = np.linalg.eigh(sample.T @ sample)  # eigenvalues ascend
    axes = np.ascontiguousarray(vectors[:, -AXES:], np.float32)
    turned = np.empty((AXES, rows), np.float32)
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        turned[:, block] = (part(block) @ axes).T
    return Coarse(axes, turned)
