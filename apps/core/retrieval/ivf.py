"""An inverted file over centred vectors, for corpora too large to scan: faiss, IVF-SQ8.

Cells are searched for candidates only; the dense leg scores them again from the float32 matrix,
so the eight-bit codes decide who is looked at and never who wins. faiss is imported where it is
used: it costs 0.15 s, and a small corpus never needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.ports import FloatArray
from apps.core.retrieval.filters import BoolArray

if TYPE_CHECKING:
    import faiss

# faiss wants at least 39 training points a cell and warns below; sqrt(n) to 4 sqrt(n) cells are
# its own guideline ("Guidelines to choose an index", faiss wiki).
POINTS_PER_CELL = 64
TRAINING_POINTS = 40_000
# Share of the cells that is searched: .95 of the exact leading 100 and .98 of the leading 10 on
# 100,000 mixtures of e5 vectors.
PROBED_SHARE = 0.12
OVERFETCH = 4


@dataclass(frozen=True, slots=True)
class InvertedFile:
    """An open inverted file; its ids are row numbers."""

    index: faiss.Index
    cells: int

    def candidates(
        self, question: FloatArray, *, allowed: BoolArray | None, limit: int
    ) -> NDArray[np.int64]:
        """Rows that are probably near, more than `limit` when there are so many."""
        import faiss  # noqa: PLC0415

        probes = max(16, int(self.cells * PROBED_SHARE))
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = probes
        selector = _selector(allowed)  # named, because the parameters do not keep it alive
        parameters.sel = selector
        _, rows = self.index.search(question[None, :], OVERFETCH * limit, params=parameters)
        found: NDArray[np.int64] = rows[0][rows[0] >= 0]
        return found


def _selector(allowed: BoolArray | None) -> faiss.IDSelector | None:
    import faiss  # noqa: PLC0415

    if allowed is None:
        return None
    # The stub describes the C++ constructor; Python's takes one packed array.
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # type: ignore[call-arg, arg-type]


def build(path: Path, rows: NDArray[np.int64], vectors: FloatArray) -> None:
    """Train on a fixed sample and write the file; about 4 s for 100,000 vectors of 384."""
    import faiss  # noqa: PLC0415

    dims = vectors.shape[1]
    cells = max(1, min(int(3 * np.sqrt(len(rows))), len(rows) // POINTS_PER_CELL))
    quantizer = faiss.IndexFlatIP(dims)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, dims, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    step = max(1, len(rows) // TRAINING_POINTS)
    index.train(vectors[::step])
    index.add_with_ids(vectors, rows)
    faiss.write_index(index, str(path))


def open_inverted(path: Path) -> InvertedFile | None:
    """Map the file into memory; None when this version has none."""
    if not path.is_file():
        return None
    import faiss  # noqa: PLC0415

    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    return InvertedFile(index, faiss.extract_index_ivf(index).nlist)
