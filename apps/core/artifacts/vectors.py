"""The vectors of a version: `index-<v>.npy`, (rows, dims) float32 of unit length.

A row without a vector is all zeros. The file of a version without any vector has no columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from apps.core.artifacts.manifest import LanguageMean
from apps.core.domain.models import Language
from apps.core.domain.ports import FloatArray

BLOCK_ROWS = 4096


def write(
    directory: Path, version: str, *, old: FloatArray, rows: int, new: Mapping[int, FloatArray]
) -> FloatArray:
    """Write the first rows from `old`, then what `new` holds by row; None-length means none.

    Returns:
        The written matrix as a read-only memory map, or a (rows, 0) array.
    """
    path = directory / f"index-{version}.npy"
    dims = old.shape[1] or max((len(vector) for vector in new.values()), default=0)
    if not dims or not rows:
        np.save(path, np.zeros((rows, 0), np.float32))
        return open_matrix(directory, version)
    matrix = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dims))
    if old.shape[1]:
        for start in range(0, min(len(old), rows), BLOCK_ROWS):
            block = old[start : min(start + BLOCK_ROWS, rows)]
            matrix[start : start + len(block)] = block
    for row, vector in new.items():
        matrix[row] = vector
    matrix.flush()
    return open_matrix(directory, version)


def open_matrix(directory: Path, version: str) -> FloatArray:
    """Map the matrix; a matrix without entries cannot be mapped and is read."""
    path = directory / f"index-{version}.npy"
    with path.open("rb") as handle:
        np.lib.format.read_magic(handle)
        shape, _, _ = np.lib.format.read_array_header_1_0(handle)
    matrix: FloatArray = np.load(path, mmap_mode="r" if 0 not in shape else None)
    return matrix


def means(matrix: FloatArray, languages: list[Language]) -> dict[Language, LanguageMean]:
    """Mean vector of the rows that have one, by language."""
    if not matrix.shape[1]:
        return {}
    present = has_vector(matrix)
    names = np.array(languages)
    found: dict[Language, LanguageMean] = {}
    for language in sorted(set(languages)):
        chosen = np.flatnonzero(present & (names == language))
        if len(chosen):
            mean = np.zeros(matrix.shape[1])
            for start in range(0, len(chosen), BLOCK_ROWS):
                mean += matrix[chosen[start : start + BLOCK_ROWS]].sum(axis=0, dtype=np.float64)
            found[language] = LanguageMean(len(chosen), tuple((mean / len(chosen)).tolist()))
    return found


def has_vector(matrix: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(rows,) whether a row has a vector; a unit vector is never all zeros."""
    return np.concatenate(
        [
            matrix[start : start + BLOCK_ROWS].any(axis=1)
            for start in range(0, len(matrix), BLOCK_ROWS)
        ]
        or [np.zeros(0, np.bool_)]
    )
