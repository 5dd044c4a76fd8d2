"""All compiled loops, awake: each is called once with columns of the types that it will see."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.core.retrieval.joining import convex
from apps.core.retrieval.kernels import best_rows, first_look, nearest
from apps.core.retrieval.plain import EVERY_ROW, FIELDS

LOOPS = (best_rows, first_look, nearest, convex)


@cache
def load() -> None:
    """Have them ready: .4 s, or 10 s to compile."""
    docs, impacts = _mapped(np.zeros(1, np.int32)), _mapped(np.zeros(1, np.uint16))
    column = (docs, impacts)
    firsts, floats = np.zeros(1, np.int64), np.zeros(1, np.float32)
    none, table = np.zeros(0, np.int64), np.zeros((1, FIELDS))
    columns = (column, column)
    best_rows((none, none), (table, table), 0.0, columns, docs, firsts, EVERY_ROW, 1)
    axis = np.zeros((1, 1), np.int8)
    first_look((axis, axis), np.zeros(2, np.int16), EVERY_ROW, (1, 1))
    matrix = _mapped(np.zeros((1, 1), np.float32))
    rows = np.zeros(0, np.int64)
    found = nearest((matrix, np.zeros(1, np.int8), floats), floats, floats, rows, 1)
    convex((np.zeros(0, np.int32), floats[:0]), found, EVERY_ROW, 0.5, 0.5)


def _mapped(column: NDArray[np.generic]) -> Any:
    column.flags.writeable = False
    return column
