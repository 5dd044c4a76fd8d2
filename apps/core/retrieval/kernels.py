"""The loops of a search that numpy has no name for, compiled at their first call.

They stand in one file because the machine code that is kept beside it is made anew when this file
changes, and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from apps.core.domain.ports import FloatArray
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.plain import EVERY_ROW, FIELDS, Column, Joined, Rows
from apps.core.retrieval.postings import CEILING, STEPS

F = TypeVar("F", bound=Callable[..., Any])
# Scores of a block's documents, and the numbers of those that have one.
Scores = tuple[FloatArray, NDArray[np.int32]]
STEP = np.float32(CEILING / STEPS)
NOUGHT = np.float32(0)
# Rows that are scored together; 512 to 4,096 take alike.
BLOCK = 1_024
# Sums of products are sorted into so many drawers to find the highest without sorting.
DRAWERS = 4_096


def compiled(function: F, *, fastmath: bool = False) -> F:
    """Compile, and free the GIL."""
    try:
        return cast(F, numba.njit(nogil=True, fastmath=fastmath, cache=True)(function))
    except RuntimeError:  # neither this directory nor the user's own may be written
        return cast(F, numba.njit(nogil=True, fastmath=fastmath)(function))


def summing(function: F) -> F:
    """The same for sums whose terms may be added in any order."""
    return compiled(function, fastmath=True)


@compiled
def _placed(rows: Rows, scores: FloatArray, held: int, row: int, score: np.float32) -> int:
    """Put a row among the leaders, best first, ties by row; returns how many there are now."""
    limit = len(rows)
    if held == limit and (score < scores[-1] or (score == scores[-1] and row > rows[-1])):
        return held
    at = min(held, limit - 1)
    while at > 0 and (score > scores[at - 1] or (score == scores[at - 1] and row < rows[at - 1])):
        scores[at], rows[at] = scores[at - 1], rows[at - 1]
        at -= 1
    scores[at], rows[at] = score, row
    return min(held + 1, limit)


@compiled
def _added(
    wanted: NDArray[np.float64],
    cursors: NDArray[np.int64],
    column: Column,
    start: int,
    end: int,
    scores: FloatArray,
    touched: NDArray[np.int32],
    known: int,
) -> int:
    """Add to documents `start` to `end` what terms say of them; returns how many have a score.

    `cursors` move on to each term's first posting behind them. `scores` and `touched` count
    documents from `start`.
    """
    docs, impacts = column
    for term in range(len(cursors)):
        weight = np.float32(wanted[FIELDS * term + 2]) * STEP
        place, last = cursors[term], int(wanted[FIELDS * term + 1])
        while place < last and docs[place] < end:
            doc = docs[place] - start
            score = scores[doc]
            touched[known] = doc  # stays when the next line counts it
            known += score == NOUGHT
            scores[doc] = score + weight * np.float32(impacts[place])
            place += 1
        cursors[term] = place
    return known


@compiled
def _folded(
    owners: NDArray[np.int32], start: int, windows: Scores, rows: Scores, known: int
) -> int:
    """Give each row the score of its best window; returns how many rows have one."""
    found = 0
    for place in range(known):
        window = windows[1][place]
        score = windows[0][window]
        windows[0][window] = NOUGHT
        row = owners[window] - start
        best = rows[0][row]
        rows[1][found] = row
        found += best == NOUGHT
        rows[0][row] = max(best, score)
    return found


@compiled
def _widest(firsts: NDArray[np.int64]) -> int:
    """The most windows of a block."""
    widest, total = 0, len(firsts) - 1
    for start in range(0, total, BLOCK):
        widest = max(widest, firsts[min(total, start + BLOCK)] - firsts[start])
    return widest


@compiled
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

    All terms are added up for one block of rows after the other, whose scores stay in the
    processor's nearest cache; over all rows at once every posting would be a walk to memory.
    See `plain.best_rows`.
    """
    total = len(firsts) - 1
    cursors = wanted[::FIELDS].astype(np.int64)
    pairs, stems = wanted[: FIELDS * split], wanted[FIELDS * split :]
    widest = _widest(firsts)
    windows = np.zeros(widest, np.float32), np.empty(widest + 1, np.int32)
    rows = np.zeros(BLOCK, np.float32), np.empty(BLOCK + 1, np.int32)
    leaders, scores = np.empty(limit, np.int32), np.empty(limit, np.float32)
    held = 0
    for start in range(0, total, BLOCK):
        end = min(total, start + BLOCK)
        first, last = firsts[start], firsts[end]
        known = _added(pairs, cursors[:split], columns[0], first, last, windows[0], windows[1], 0)
        known = _folded(owners[first:last], start, windows, rows, known)
        known = _added(stems, cursors[split:], columns[1], start, end, rows[0], rows[1], known)
        for place in range(known):
            row = rows[1][place]
            if len(allowed) == 0 or allowed[start + row]:
                held = _placed(leaders, scores, held, start + row, rows[0][row])
            rows[0][row] = NOUGHT
    return leaders[:held], scores[:held]


@compiled
def _least(sums: NDArray[np.int32], top: int, wanted: int) -> tuple[int, int]:
    """From which sum on there are `wanted` or a few more, and how many; none below nought."""
    drawers = np.zeros(DRAWERS, np.int32)
    width = top // DRAWERS + 1
    for total in sums:
        if total >= 0:
            drawers[total // width] += 1
    found, least = 0, DRAWERS
    while least > 0 and found < wanted:
        least -= 1
        found += drawers[least]
    return least * width, found


@summing
def first_look(
    turned: NDArray[np.int8],
    question: NDArray[np.int16],
    allowed: BoolArray,
    wanted: int,
) -> NDArray[np.int64]:
    """The rows whose products with the question sum up highest, `wanted` or a few more, in order.

    `turned` is (rows, axes), `question` (axes,). `allowed` says which rows may be found, empty for
    all; a row with a sum below nought is never found.
    """
    rows, axes = turned.shape
    sums = np.empty(rows, np.int32)
    top = 1
    for row in range(rows):
        total = np.int32(0)
        for axis in range(axes):
            total = np.int32(total + np.int32(turned[row, axis]) * np.int32(question[axis]))
        if len(allowed) > 0 and not allowed[row]:
            total = np.int32(-1)
        sums[row] = total
        top = max(top, int(total))
    least, found = _least(sums, top, wanted)
    leaders = np.empty(found, np.int64)
    place = 0
    for row in range(rows):
        if sums[row] >= least:
            leaders[place] = row
            place += 1
    return leaders[:place]


@summing
def nearest(
    columns: tuple[FloatArray, NDArray[np.int8], FloatArray],
    question: FloatArray,
    away: FloatArray,
    rows: NDArray[np.int64],
    limit: int,
) -> tuple[NDArray[np.int64], FloatArray]:
    """Those of `rows` that have a vector, by their exact cosines, best first, ties by row."""
    matrix, language, scale = columns
    leaders = np.empty(limit, np.int64)
    scores = np.empty(limit, np.float32)
    held = 0
    for row in rows:
        if scale[row] <= 0:
            continue
        total = -away[language[row]]
        for dim in range(len(question)):
            total += matrix[row, dim] * question[dim]
        score = np.float32(total * scale[row])
        held = _placed(leaders, scores, held, row, score)
    return leaders[:held], scores[:held]


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
    count = len(lexical[0]) + len(dense[0])
    rows = np.empty(count, np.int64)
    sums = np.empty(count, np.float64)
    words, meaning = np.full(count, np.nan), np.full(count, np.nan)
    held = len(lexical[0])
    for place in range(held):
        rows[place], words[place] = lexical[0][place], lexical[1][place]
        sums[place] = weight * words[place]
    for other in range(len(dense[0])):
        row, score = dense[0][other], dense[1][other]
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


@cache
def load() -> None:
    """Call each loop once with columns of the types it will see: .4 s, or 10 s to compile."""
    docs, impacts = _mapped(np.zeros(1, np.int32)), _mapped(np.zeros(1, np.uint16))
    column = (docs, impacts)
    firsts, floats = np.zeros(1, np.int64), np.zeros(1, np.float32)
    best_rows(np.zeros(0), 0, (column, column), docs, firsts, EVERY_ROW, 1)
    first_look(np.zeros((1, 1), np.int8), np.zeros(1, np.int16), EVERY_ROW, 1)
    matrix = _mapped(np.zeros((1, 1), np.float32))
    rows = np.zeros(0, np.int64)
    found = nearest((matrix, np.zeros(1, np.int8), floats), floats, floats, rows, 1)
    convex((np.zeros(0, np.int32), floats[:0]), found, EVERY_ROW, 0.5, 0.5)


def _mapped(column: NDArray[np.generic]) -> Any:
    column.flags.writeable = False
    return column
