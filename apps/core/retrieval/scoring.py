"""BM25 over both granularities, compiled: terms at a time, each row by its best window.

The same loop over tantivy's segments scores as many postings but hands out addresses, which Python
then has to look up, merge and sort; here one call returns the leading rows.

Source: Robertson, Zaragoza 2009, "The probabilistic relevance framework: BM25 and beyond",
Foundations and Trends in Information Retrieval 3(4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from apps.core.retrieval.grains import Grains
from apps.core.retrieval.postings import Postings

K1 = 1.2
B = 0.75
# A term can add at most its weight times this.
CEILING = K1 + 1
F = TypeVar("F", bound=Callable[..., Any])
FloatColumn = NDArray[np.float32]
Whole = NDArray[np.int64]
NOUGHT = np.float32(0)
EVERY_ROW = np.zeros(0, np.bool_)


# What compiled code takes: plain tuples of columns cost less to hand over than classes.
# begins, ends, weights of terms: those of windows, then those of passages.
Wanted = tuple[Whole, Whole, FloatColumn]
# docs, counts, norms of one granularity.
Column = tuple[NDArray[np.int32], NDArray[np.uint8], FloatColumn]
# scores of windows and of rows, and the numbers of those that have one; nought between searches.
Scratch = tuple[FloatColumn, FloatColumn, NDArray[np.int32], NDArray[np.int32]]


def _compiled(function: F) -> F:
    """Compile at the first call, and keep the machine code beside this file where that works."""
    try:
        return cast(F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither this directory nor the user's own may be written
        return cast(F, numba.njit(nogil=True)(function))


@_compiled
def _add(
    wanted: Wanted,
    first: int,
    last: int,
    column: Column,
    scores: FloatColumn,
    touched: NDArray[np.int32],
    known: int,
) -> int:
    """Add what terms first to last say of their documents; returns how many have a score now."""
    begins, ends, weights = wanted
    docs, counts, norms = column
    for term in range(first, last):
        weight = weights[term]
        for place in range(begins[term], ends[term]):
            doc = docs[place]
            count = np.float32(counts[place])
            score = scores[doc]
            touched[known] = doc  # stays when the next line counts it
            known += score == NOUGHT
            scores[doc] = score + weight * count / (count + norms[doc])
    return known


@_compiled
def _fold(owners: NDArray[np.int32], scratch: Scratch, known: int) -> int:
    """Give each row the score of its best window; returns how many rows have one."""
    windows, rows, touched_windows, touched_rows = scratch
    found = 0
    for place in range(known):
        window = touched_windows[place]
        score = windows[window]
        windows[window] = 0
        row = owners[window]
        best = rows[row]
        touched_rows[found] = row
        found += best == NOUGHT
        rows[row] = max(best, score)
    return found


@_compiled
def _lead(
    scratch: Scratch, known: int, allowed: NDArray[np.bool_], limit: int
) -> tuple[NDArray[np.int32], FloatColumn]:
    """The best rows in order, ties by row; leaves the scratch empty."""
    _, scores, _, touched = scratch
    rows = np.empty(limit, np.int32)
    best = np.empty(limit, np.float32)
    held = 0
    for place in range(known):
        row = touched[place]
        score = scores[row]
        scores[row] = 0
        if len(allowed) > 0 and not allowed[row]:
            continue
        if held == limit and (score < best[-1] or (score == best[-1] and row > rows[-1])):
            continue
        if held < limit:
            held += 1
        at = held - 1
        while at > 0 and (score > best[at - 1] or (score == best[at - 1] and row < rows[at - 1])):
            best[at], rows[at] = best[at - 1], rows[at - 1]
            at -= 1
        best[at], rows[at] = score, row
    return rows[:held], best[:held]


@_compiled
def _leading(
    wanted: Wanted,
    split: int,
    columns: tuple[Column, Column],
    owners: NDArray[np.int32],
    scratch: Scratch,
    allowed: NDArray[np.bool_],
    limit: int,
) -> tuple[NDArray[np.int32], FloatColumn]:
    terms = len(wanted[0])
    known = _add(wanted, 0, split, columns[0], scratch[0], scratch[2], 0)
    known = _fold(owners, scratch, known)
    known = _add(wanted, split, terms, columns[1], scratch[1], scratch[3], known)
    return _lead(scratch, known, allowed, limit)


class Scorer:
    """Scores questions against the grains of one index version; safe to share between threads."""

    def __init__(self, grains: Grains) -> None:
        self._columns = (_column(grains.windows), _column(grains.passages))
        self._owners = grains.owners
        self._sizes = len(grains.windows.lengths), len(grains.passages.lengths)
        self._idle: list[Scratch] = []

    def leading(
        self,
        wanted: Wanted,
        *,
        split: int,
        allowed: NDArray[np.bool_] | None,
        limit: int,
    ) -> tuple[list[int], list[float]]:
        """The best rows and their scores, best first, ties by row.

        Args:
            wanted: begins, ends and weights of the terms; the first `split` are terms of windows.
            split: how many are.
            allowed: (rows,) which rows may be found; None for all.
            limit: how many rows at most.
        """
        try:
            scratch = self._idle.pop()
        except IndexError:  # as many searches are under way as never before
            scratch = self._scratch()
        may = EVERY_ROW if allowed is None else allowed
        rows, scores = _leading(wanted, split, self._columns, self._owners, scratch, may, limit)
        self._idle.append(scratch)
        return rows.tolist(), scores.tolist()

    def _scratch(self) -> Scratch:
        windows, rows = self._sizes
        return (
            np.zeros(windows, np.float32),
            np.zeros(rows, np.float32),
            np.zeros(windows + 1, np.int32),
            np.zeros(rows + 1, np.int32),
        )


def _column(postings: Postings) -> Column:
    return postings.docs, postings.counts, _norms(postings.lengths)


def _norms(lengths: NDArray[np.int32]) -> FloatColumn:
    """(documents,) what a count is measured against: more in a document longer than the mean."""
    alive = lengths[lengths > 0]
    mean = alive.mean() if len(alive) else 1.0
    return (K1 * (1 - B + B * lengths / mean)).astype(np.float32)
