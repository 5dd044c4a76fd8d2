"""The loops of a search in numpy: slower than compiled ones, there at once, and their measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.ports import FloatArray
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.postings import CEILING, STEPS

FIELDS = 3  # of a term: where its postings begin and end, and its weight
EVERY_ROW: BoolArray = np.zeros(0, np.bool_)
Rows = NDArray[np.int32] | NDArray[np.int64]
# Documents and impacts of one granularity; plain tuples cost less to hand over than classes.
Column = tuple[NDArray[np.int32], NDArray[np.uint16]]
Table = NDArray[np.float64]
# Rows, their scores, the score of a passage full of every term, and how many terms were left out.
Led = tuple[NDArray[np.int32], FloatArray, float, int]
Joined = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def best_rows(
    terms: tuple[NDArray[np.int64], NDArray[np.int64]],
    tables: tuple[Table, Table],
    pruned_share: float,
    columns: tuple[Column, Column],
    owners: NDArray[np.int32],
    firsts: NDArray[np.int64],
    allowed: BoolArray,
    limit: int,
) -> Led:
    """The rows with the best lexical scores, best first, ties by row; at most `limit`.

    Args:
        terms: numbers of the wanted terms of windows, and of rows.
        tables: (numbers, 3) where each term's postings begin and end, and its weight.
        pruned_share: terms of less than this share of the heaviest weight of theirs are left out.
        columns: documents and impacts of windows, and of rows.
        owners: (windows,) the row of each window.
        firsts: (rows + 1,) the first window of each row.
        allowed: (rows,) which rows may be found; empty for all.
        limit: how many at most.
    """
    wanted = [table[numbers] for table, numbers in zip(tables, terms, strict=True)]
    heavy = [each[each[:, 2] >= pruned_share * each[:, 2].max(initial=0)] for each in wanted]
    windows = _scores(heavy[0], columns[0], len(owners))
    rows = _scores(heavy[1], columns[1], len(firsts) - 1)
    best = np.zeros(len(rows), np.float32)
    np.maximum.at(best, owners, windows)
    rows += best
    if len(allowed):
        rows[~allowed] = 0
    found = np.flatnonzero(rows)
    order = np.lexsort((found, -rows[found]))[:limit]
    full = CEILING * sum(float(each[:, 2].sum()) for each in wanted)
    left_out = sum(map(len, wanted)) - sum(map(len, heavy))
    return found[order].astype(np.int32), rows[found[order]], full, left_out


def _scores(wanted: Table, column: Column, count: int) -> FloatArray:
    docs, impacts = column
    scores = np.zeros(count, np.float32)
    for begin, end, weight in wanted.tolist():
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
    words = dict(zip(lexical[0].tolist(), scaled(lexical[1].tolist()), strict=True))
    meaning = dict(zip(dense[0].tolist(), shared(dense[1].tolist()), strict=True))
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


def scaled(scores: Sequence[float]) -> list[float]:
    """Falling scores as shares of the way from the last to the first."""
    if not scores:
        return []
    low, width = scores[-1], scores[0] - scores[-1]
    return [(score - low) / width for score in scores] if width > 0 else [1.0] * len(scores)


def shared(scores: Sequence[float]) -> list[float]:
    """Falling scores as shares of the first, none below nought; scaled when it is not above."""
    if not scores or scores[0] <= 0:
        return scaled(scores)
    return [max(score / scores[0], 0.0) for score in scores]
