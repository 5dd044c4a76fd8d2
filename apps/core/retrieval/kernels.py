"""The loops of the legs that numpy has no name for, compiled at their first call."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.ports import FloatArray
from apps.core.retrieval.compiling import compiled, summing
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.joining import convex
from apps.core.retrieval.plain import EVERY_ROW, FIELDS, Column, Led, Rows, Table
from apps.core.retrieval.postings import CEILING, STEPS

# Scores of a block's documents, and the numbers of those that have one.
Scores = tuple[FloatArray, NDArray[np.int32]]
STEP = np.float32(CEILING / STEPS)
NOUGHT = np.float32(0)
# An index of this type is not asked whether it counts from the end, which is half a loop's time.
Index = np.uint64
ONE = Index(1)
Places = NDArray[np.uint64]
# Rows that are scored together; 512 to 4,096 take alike.
BLOCK = 1_024
# Sums of products are sorted into so many drawers to find the highest without sorting.
DRAWERS = 4_096


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
def _heavy(
    terms: NDArray[np.int64], table: Table, pruned_share: float
) -> tuple[Places, FloatArray, float]:
    """Begin and end of the postings of terms that weigh enough, their steps, and all weights."""
    heaviest, total = 0.0, 0.0
    for term in terms:
        total += table[term, 2]
        heaviest = max(heaviest, table[term, 2])
    places = np.empty((2, len(terms)), np.uint64)
    steps = np.empty(len(terms), np.float32)
    kept = 0
    for term in terms:
        if table[term, 2] >= pruned_share * heaviest:
            places[0, kept], places[1, kept] = Index(table[term, 0]), Index(table[term, 1])
            steps[kept] = np.float32(table[term, 2]) * STEP
            kept += 1
    return places[:, :kept], steps[:kept], total


@compiled
def _added(
    places: Places,
    steps: FloatArray,
    column: Column,
    start: int,
    end: int,
    scores: FloatArray,
    touched: NDArray[np.int32],
    known: int,
) -> int:
    """Add to documents `start` to `end` what terms say of them; returns how many have a score.

    The begins of `places` move on to each term's first posting behind them. `scores` and `touched`
    count documents from `start`.
    """
    docs, impacts = column
    found = Index(known)
    for term in range(len(steps)):
        step = steps[term]
        place, last = places[0, term], places[1, term]
        while place < last and docs[place] < end:
            doc = Index(docs[place] - start)
            score = scores[doc]
            touched[found] = np.int32(doc)  # stays when the next line counts it
            found += Index(score == NOUGHT)
            scores[doc] = score + step * np.float32(impacts[place])
            place += ONE
        places[0, term] = place
    return int(found)


@compiled
def _folded(
    owners: NDArray[np.int32], start: int, windows: Scores, rows: Scores, known: int
) -> int:
    """Give each row the score of its best window; returns how many rows have one."""
    found = Index(0)
    for place in range(Index(known)):
        window = Index(windows[1][place])
        score = windows[0][window]
        windows[0][window] = NOUGHT
        row = Index(owners[window] - start)
        best = rows[0][row]
        rows[1][found] = np.int32(row)
        found += Index(best == NOUGHT)
        rows[0][row] = max(best, score)
    return int(found)


@compiled
def _leading(
    rows: Scores, known: int, start: int, allowed: BoolArray, best: Scores, held: int
) -> int:
    """Put the rows that have a score among the leaders, and forget it; returns how many lead."""
    leaders, scores = best[1], best[0]
    for place in range(Index(known)):
        row = Index(rows[1][place])
        score = rows[0][row]
        rows[0][row] = NOUGHT
        if held == len(leaders) and score < scores[-1]:
            continue
        if len(allowed) == 0 or allowed[start + int(row)]:
            held = _placed(leaders, scores, held, start + int(row), score)
    return held


@compiled
def _widest(firsts: NDArray[np.int64]) -> int:
    """The most windows of a block."""
    widest, total = 0, len(firsts) - 1
    for start in range(0, total, BLOCK):
        widest = max(widest, firsts[min(total, start + BLOCK)] - firsts[start])
    return widest


@compiled
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

    All terms are added up for one block of rows after the other, whose scores stay in the
    processor's nearest cache; over all rows at once every posting would be a walk to memory.
    See `plain.best_rows`.
    """
    pairs, pair_steps, of_pairs = _heavy(terms[0], tables[0], pruned_share)
    stems, stem_steps, of_stems = _heavy(terms[1], tables[1], pruned_share)
    total = len(firsts) - 1
    widest = _widest(firsts)
    windows = np.zeros(widest, np.float32), np.empty(widest + 1, np.int32)
    rows = np.zeros(BLOCK, np.float32), np.empty(BLOCK + 1, np.int32)
    best = np.empty(limit, np.float32), np.empty(limit, np.int32)
    held = 0
    for start in range(0, total, BLOCK):
        end = min(total, start + BLOCK)
        first, last = firsts[start], firsts[end]
        known = _added(pairs, pair_steps, columns[0], first, last, windows[0], windows[1], 0)
        known = _folded(owners[first:last], start, windows, rows, known)
        known = _added(stems, stem_steps, columns[1], start, end, rows[0], rows[1], known)
        held = _leading(rows, known, start, allowed, best, held)
    left_out = len(terms[0]) + len(terms[1]) - len(pair_steps) - len(stem_steps)
    return best[1][:held], best[0][:held], CEILING * (of_pairs + of_stems), left_out


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


@cache
def load() -> None:
    """Call each loop once with columns of the types it will see: .4 s, or 10 s to compile."""
    docs, impacts = _mapped(np.zeros(1, np.int32)), _mapped(np.zeros(1, np.uint16))
    column = (docs, impacts)
    firsts, floats = np.zeros(1, np.int64), np.zeros(1, np.float32)
    none, table = np.zeros(0, np.int64), np.zeros((1, FIELDS))
    columns = (column, column)
    best_rows((none, none), (table, table), 0.0, columns, docs, firsts, EVERY_ROW, 1)
    first_look(np.zeros((1, 1), np.int8), np.zeros(1, np.int16), EVERY_ROW, 1)
    matrix = _mapped(np.zeros((1, 1), np.float32))
    rows = np.zeros(0, np.int64)
    found = nearest((matrix, np.zeros(1, np.int8), floats), floats, floats, rows, 1)
    convex((np.zeros(0, np.int32), floats[:0]), found, EVERY_ROW, 0.5, 0.5)


def _mapped(column: NDArray[np.generic]) -> Any:
    column.flags.writeable = False
    return column
