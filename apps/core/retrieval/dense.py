"""The dense leg: cosines of centred vectors, by an exact scan or through an inverted file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.core.artifacts.manifest import LanguageMean
from apps.core.artifacts.vectors import BLOCK_ROWS, has_vector
from apps.core.domain.models import Language
from apps.core.domain.ports import FloatArray
from apps.core.retrieval.centres import passage_centres
from apps.core.retrieval.coarse import Coarse, fit
from apps.core.retrieval.filters import BoolArray
from apps.core.retrieval.ivf import InvertedFile
from apps.core.retrieval.loops import Loops

RowArray = NDArray[np.int64]
ABSENT = np.float32(-2.0)  # below every cosine
# A filter that leaves so few rows makes the exact look at all of them the fastest.
FEW_ROWS = 2_000


class DenseHits(NamedTuple):
    """Rows with the cosines of their centred vectors, best first; ties by row."""

    rows: RowArray
    scores: FloatArray


NOTHING = DenseHits(np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class DenseLeg:
    """The vectors of an open version; they stay on disk as they were embedded.

    With v a passage's unit vector, m its language's centre and q the centred question, the
    cosine is (v·q - m·q) / |v - m|: the scan needs no centred copy, only m·q by language and
    `scale` = 1 / |v - m| by row, 0 where there is no vector.
    """

    matrix: FloatArray
    centres: FloatArray
    names: tuple[str, ...]
    language: NDArray[np.int8]
    scale: FloatArray
    coarse: Coarse | None
    inverted: InvertedFile | None
    exact_below: int
    loops: Loops

    def search(self, question: FloatArray, *, allowed: BoolArray | None, limit: int) -> DenseHits:
        """Find the passages nearest to a centred question; `allowed` None admits all."""
        if allowed is not None:
            rows = np.flatnonzero(allowed)
            if len(rows) <= FEW_ROWS:
                return self._nearest(rows, question, limit)
        if self.inverted is None or len(self.scale) <= self.exact_below:
            return self._scan(question, allowed, limit)
        rows = self.inverted.candidates(question, allowed=allowed, limit=limit)
        return self._nearest(rows, question, limit)

    def foreign(self, rows: RowArray, asked: Language) -> BoolArray:
        """Which of `rows` are in another language than the question."""
        if asked not in self.names:
            return np.ones(len(rows), np.bool_)
        foreign: BoolArray = self.language[rows] != self.names.index(asked)
        return foreign

    def cosines(self, question: FloatArray, rows: RowArray | slice) -> FloatArray:
        """Exact cosines of `rows`; `ABSENT` where a row has no vector."""
        away = self.centres @ question
        scale = self.scale[rows]
        found = (self.matrix[rows] @ question - away[self.language[rows]]) * scale
        cosines: FloatArray = np.where(scale > 0, found, ABSENT)
        return cosines

    def _scan(self, question: FloatArray, allowed: BoolArray | None, limit: int) -> DenseHits:
        if self.coarse is not None and self.loops.first_look is not None:
            rows = self.coarse.candidates(self.loops.first_look, question, allowed)
            return self._nearest(rows, question, limit)
        scores = self.cosines(question, slice(None))
        if allowed is not None:
            scores = np.where(allowed, scores, ABSENT)
        if len(scores) > limit:
            rows = np.argpartition(-scores, limit - 1)[:limit]
            return self._best(rows, scores[rows], limit)
        return self._best(np.arange(len(scores)), scores, limit)

    def _best(self, rows: RowArray, scores: FloatArray, limit: int) -> DenseHits:
        order = np.lexsort((rows, -scores))[:limit]
        rows, scores = rows[order], scores[order]
        present = scores > ABSENT
        return DenseHits(rows[present], scores[present])

    def _nearest(self, rows: RowArray, question: FloatArray, limit: int) -> DenseHits:
        if self.loops.nearest is None:
            return self._best(rows, self.cosines(question, rows), limit)
        away = self.centres @ question
        columns = (self.matrix, self.language, self.scale)
        return DenseHits(*self.loops.nearest(columns, question, away, rows, limit))


def open_leg(
    matrix: FloatArray,
    languages: Sequence[str],
    means: Mapping[Language, LanguageMean],
    *,
    loops: Loops,
    inverted: InvertedFile | None = None,
    exact_below: int = 20_000,
) -> DenseLeg | None:
    """Prepare the scan; None when no passage has a vector."""
    if not means or not matrix.shape[1]:
        return None
    matrix = np.asarray(matrix)  # the same map without the subclass, whose indexing is slow
    names, centres, codes = _centres(languages, means, matrix.shape[1])
    scale = np.zeros(len(matrix), np.float32)
    present = has_vector(matrix)
    for start in range(0, len(matrix), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        away = np.linalg.norm(matrix[rows] - centres[codes[rows]], axis=1)
        scale[rows] = np.where(present[rows], 1 / np.maximum(away, 1e-6), 0)
    coarse = None
    if inverted is None or len(matrix) <= exact_below:
        coarse = fit(
            lambda rows: (matrix[rows] - centres[codes[rows]]) * scale[rows, None],
            rows=len(matrix),
            dims=matrix.shape[1],
        )
    return DenseLeg(matrix, centres, names, codes, scale, coarse, inverted, exact_below, loops)


def centred(
    matrix: FloatArray, languages: Sequence[str], means: Mapping[Language, LanguageMean]
) -> tuple[RowArray, FloatArray]:
    """Rows that have a vector, and those vectors centred and of unit length."""
    _, centres, codes = _centres(languages, means, matrix.shape[1])
    rows = np.flatnonzero(has_vector(matrix))
    away = matrix[rows] - centres[codes[rows]]
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    return rows, away


def _centres(
    languages: Sequence[str], means: Mapping[Language, LanguageMean], dims: int
) -> tuple[tuple[str, ...], FloatArray, NDArray[np.int8]]:
    names = tuple(sorted(set(languages)))
    by_name = passage_centres(means, dims)
    zero = np.zeros(dims, np.float32)
    centres = np.stack([by_name.get(name, zero) for name in names]).astype(np.float32)
    position = {name: number for number, name in enumerate(names)}
    return names, centres, np.array([position[name] for name in languages], np.int8)
