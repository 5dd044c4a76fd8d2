"""A first look at every vector along a few axes, so that the exact look is at few vectors.

A scan of 10,000 vectors of 384 is 15 MB of memory traffic, more than the arithmetic costs. Along
64 principal axes, a byte each, it is a 24th of that; the best are looked at along 64 more, and the
best of those are then scored in full. `python -m bench.dense` prints how many of the exact leaders
that keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apps.core.artifacts.vectors import BLOCK_ROWS
from apps.core.domain.ports import FloatArray
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.loops import Loop
from apps.core.retrieval.plain import EVERY_ROW
from apps.core.retrieval.recent import Recent

AXES = 128
FIRST_AXES = 64
# How many are looked at along all axes, and how many in full.
CANDIDATES = (1_200, 200)
QUESTIONS_KEPT = 2_048
# Below this many rows the exact scan is as fast.
WORTH_ROWS = 4_000
SAMPLE_ROWS = 4_096
# Whole numbers of a row and of a question: their products, summed over the axes, stay below 2^31.
ROW_STEPS = 127
QUESTION_STEPS = 4_095


@dataclass(frozen=True, slots=True)
class Coarse:
    """The principal axes, (dims, 128), and every row along them, (rows, 64) twice in whole steps.

    along: questions that were turned, by their bytes; `axes` are too long for a cache of the
        processor.
    """

    axes: FloatArray
    turned: tuple[NDArray[np.int8], NDArray[np.int8]]
    along: Recent[bytes, NDArray[np.int16]] = field(default_factory=lambda: Recent(QUESTIONS_KEPT))

    def candidates(
        self, first_look: Loop, question: FloatArray, allowed: BoolArray | None
    ) -> NDArray[np.int64]:
        """The rows that look best, 200 or a few more; without a vector they look as 0."""
        name = question.tobytes()
        along = self.along.get(name)
        if along is None:
            along = self._turn(question)
            self.along.put(name, along)
        may = EVERY_ROW if allowed is None else allowed
        rows: NDArray[np.int64] = first_look(self.turned, along, may, CANDIDATES)
        return rows

    def _turn(self, question: FloatArray) -> NDArray[np.int16]:
        along = question @ self.axes
        along *= QUESTION_STEPS / max(float(np.abs(along).max()), 1e-9)
        return along.astype(np.int16)


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
    axes = np.ascontiguousarray(vectors[:, : -AXES - 1 : -1], np.float32)
    # What lies further out than the sample is cut off.
    step = max(float(np.abs(sample @ axes).max()), 1e-9) / ROW_STEPS
    turned = np.empty((rows, AXES), np.int8)
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        steps = np.rint(part(block) @ axes / step)
        turned[block] = np.clip(steps, -ROW_STEPS, ROW_STEPS)
    first, rest = turned[:, :FIRST_AXES], turned[:, FIRST_AXES:]
    return Coarse(axes, (np.ascontiguousarray(first), np.ascontiguousarray(rest)))
