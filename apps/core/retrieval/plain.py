"""The loops of a search in numpy: slower than compiled ones, there at once, and their measure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.ports import FloatArray
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.postings import CEILING, STEPS

FIELDS = 3  # of a term that is wanted
EVERY_ROW: BoolArray = np.zeros(0, np.bool_)
Rows = NDArray[np.int32] | NDArray[np.int64]
# Documents and impacts of one granularity; plain tuples cost less to hand over than classes.
Column = tuple[NDArray[np.int32], NDArray[np.uint16]]
Joined = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def best_rows(
    wanted: NDArray[np.float64],
    split: int,
    columns: tuple[Column, Column],
    owners: NDArray[np.int32],
    firsts: NDArray[np.int64],
    allowed: BoolArray,
    limit: int,
) -> tuple[NDArray[np.int32], FloatArray]:
    """The rows with the best lexical scores, best first, ties by row; at most `limit`.

    Args:
        wanted: begin, end and weight of each term, one after the other; the first `split` terms
            are of windows, the others of rows.
        split: how many are of windows.
        columns: documents and impacts of windows, and of rows.
        owners: (windows,) the row of each window.
        firsts: (rows + 1,) the first window of each row.
        allowed: (rows,) which rows may be found; empty for all.
        limit: how many at most.
    """
    windows = _scores(wanted[: FIELDS * split], columns[0], len(owners))
    rows = _scores(wanted[FIELDS * split :], columns[1], len(firsts) - 1)
    best = np.zeros(len(rows), np.float32)
    np.maximum.at(best, owners, windows)
    rows += best
    if len(allowed):
        rows[~allowed] = 0
    found = np.flatnonzero(rows)
    order = np.lexsort((found, -rows[found]))[:limit]
    return found[order].astype(np.int32), rows[found[order]]


def _scores(wanted: NDArray[np.float64], column: Column, count: int) -> FloatArray:
    docs, impacts = column
    scores = np.zeros(count, np.float32)
    for begin, end, weight in wanted.reshape(-1, FIELDS).tolist():
        term = slice(int(begin), int(end))
        # A term has a document once, so that no sum is lost.
        scores[docs[term]] += impacts[term] * np.float32(weight * CEILING / STEPS)
    return scores


def convex(
    lexical: tuple[Rows, FloatArray],
    dense: tuple[Rows, FloatArray],
    foreign: BoolArray,
    weight: float,
    deaf_share: float,
) -> Joined:
    """Rows, joint scores, and each leg's own, NaN where it lacks the row; see `fusion.convex`."""
    words = dict(zip(lexical[0].tolist(), lexical[1].tolist(), strict=True))
    meaning = dict(zip(dense[0].tolist(), dense[1].tolist(), strict=True))
    sums = {row: weight * score for row, score in words.items()}
    for (row, score), other in zip(meaning.items(), foreign.tolist(), strict=True):
        deaf = weight * deaf_share * score if other and row not in words else 0.0
        sums[row] = sums.get(row, 0.0) + deaf + (1 - weight) * score
    rows = sorted(sums, key=lambda row: (-sums[row], row))
    return (
        np.array(rows, np.int64),
        np.array([min(1.0, max(0.0, sums[row])) for row in rows]),
        np.array([words.get(row, np.nan) for row in rows]),
        np.array([meaning.get(row, np.nan) for row in rows]),
    )
