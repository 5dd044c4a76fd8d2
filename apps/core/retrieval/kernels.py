"""The loops of the legs that numpy has no name for, compiled at their first call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.ports import FloatArray
from apps.core.retrieval.compiling import compiled, summing
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.plain import Column, Led, Rows, Table
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
FEW_DRAWERS = 512  # for as many leaders as a search gives
ROUGH_STRIDE = 8
NEVER = np.int32(np.iinfo(np.int32).min)


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
def _collected(
    rows: Scores, known: int, start: int, allowed: BoolArray, found: Scores, held: int
) -> int:
    """Move the rows that have a score to those found; returns how many these are."""
    at = Index(held)
    for place in range(Index(known)):
        row = Index(rows[1][place])
        found[0][at] = rows[0][row]
        rows[0][row] = NOUGHT
        found[1][at] = start + int(row)
        at += Index(len(allowed) == 0 or allowed[start + int(row)])
    return int(at)


@compiled
def _leaders(scores: FloatArray, rows: NDArray[np.int32], limit: int) -> Scores:
    """The best of them, best first, ties by row; sorts hardly more than it gives."""
    top = NOUGHT
    for score in scores:
        top = max(top, score)
    width = np.float32(FEW_DRAWERS - 1) / max(top, np.float32(1e-9))
    drawers = np.zeros(FEW_DRAWERS, np.int32)
    for score in scores:
        drawers[Index(score * width)] += 1
    least, count = FEW_DRAWERS, 0
    while least > 0 and count < limit:
        least -= 1
        count += drawers[least]
    best, leaders = np.empty(limit, np.float32), np.empty(limit, np.int32)
    held = 0
    for place in range(len(scores)):
        if int(scores[place] * width) >= least:
            held = _placed(leaders, best, held, rows[place], scores[place])
    return best[:held], leaders[:held]


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
    found = np.empty(total + 1, np.float32), np.empty(total + 1, np.int32)
    held = 0
    for start in range(0, total, BLOCK):
        end = min(total, start + BLOCK)
        first, last = firsts[start], firsts[end]
        known = _added(pairs, pair_steps, columns[0], first, last, windows[0], windows[1], 0)
        known = _folded(owners[first:last], start, windows, rows, known)
        known = _added(stems, stem_steps, columns[1], start, end, rows[0], rows[1], known)
        held = _collected(rows, known, start, allowed, found, held)
    left_out = len(terms[0]) + len(terms[1]) - len(pair_steps) - len(stem_steps)
    scores, leaders = _leaders(found[0][:held], found[1][:held], limit)
    return leaders, scores, CEILING * (of_pairs + of_stems), left_out


@compiled
def _above(sums: NDArray[np.int32], wanted: int, stride: int) -> NDArray[np.int64]:
    """The places of the highest sums, `wanted` or a few more, in order.

    With a `stride` the bar is set by looking at every so many of them, and they are about so many.
    """
    top = np.int32(1)
    for total in sums:
        top = max(top, total)
    bits = 0  # a shift, because a division costs more than the whole sum
    while top >> bits >= DRAWERS:
        bits += 1
    drawers = np.zeros(DRAWERS, np.int32)
    for place in range(Index(0), Index(len(sums)), Index(stride)):
        drawers[Index(max(0, sums[place]) >> bits)] += 1
    found, least = 0, DRAWERS
    while least > 0 and found * stride < wanted:
        least -= 1
        found += drawers[least]
    bar = np.int32(least << bits if least else NEVER + 1)
    places = np.empty(len(sums) + 1, np.int64)
    held = Index(0)
    for place in range(Index(len(sums))):
        places[held] = place  # stays when the next line counts it
        held += Index(sums[place] >= bar)
    return places[:held]


@summing
def _along(turned: NDArray[np.int8], row: int, question: NDArray[np.int16]) -> np.int32:
    total = np.int32(0)
    for axis in range(len(question)):
        total = np.int32(total + np.int32(turned[row, axis]) * np.int32(question[axis]))
    return total


@summing
def first_look(
    turned: tuple[NDArray[np.int8], NDArray[np.int8]],
    question: NDArray[np.int16],
    allowed: BoolArray,
    sizes: tuple[int, int],
) -> NDArray[np.int64]:
    """The rows whose products with the question sum up highest, in order, or a few more.

    The second of `sizes` is how many: by all axes, among as many as the first by the first axes
    alone. `turned` are two of (rows, axes), `question` is (axes of both,). `allowed` says which
    rows may be found, empty for all.
    """
    first, rest = turned
    split = first.shape[1]
    sums = np.empty(len(first), np.int32)
    for row in range(len(first)):
        sums[row] = _along(first, row, question[:split])
    if len(allowed) > 0:
        for row in range(len(first)):
            sums[row] = sums[row] if allowed[row] else NEVER
    rows = _above(sums, sizes[0], ROUGH_STRIDE)
    for place in range(len(rows)):
        sums[place] = sums[rows[place]] + _along(rest, rows[place], question[split:])
    return rows[_above(sums[: len(rows)], sizes[1], 1)]


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
