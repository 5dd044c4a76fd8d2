"""An embedder that keeps what it made in a file: vectors cost more than all else in a bench."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from apps.core.domain.ports import Embedder, FloatArray


class Kept:
    """Another embedder's vectors, each made once; `save` writes them for the next run."""

    def __init__(self, model: Embedder, file: Path | None) -> None:
        self.id, self.dims = model.id, model.dims
        self._model = model
        self._file = file
        self._known: dict[str, FloatArray] = {}
        if file is not None and file.exists():
            with np.load(file) as stored:
                self._known = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))

    def passages(self, texts: Sequence[str]) -> FloatArray:
        """(n, dims)."""
        return self._all(texts, "passage", self._model.passages)

    def queries(self, texts: Sequence[str]) -> FloatArray:
        """(n, dims)."""
        return self._all(texts, "query", self._model.queries)

    def save(self) -> None:
        """Write everything that is known."""
        if self._file is not None:
            vectors = np.stack([*self._known.values()])
            np.savez(self._file, keys=np.array([*self._known]), vectors=vectors)

    def _all(
        self, texts: Sequence[str], kind: str, make: Callable[[Sequence[str]], FloatArray]
    ) -> FloatArray:
        keys = [key(kind, text) for text in texts]
        unknown = [text for text, one in zip(texts, keys, strict=True) if one not in self._known]
        if unknown:
            made = make(unknown)
            self._known.update(zip((key(kind, text) for text in unknown), made, strict=True))
        return np.stack([self._known[one] for one in keys])


def key(kind: str, text: str) -> str:
    """Under which a vector is kept."""
    return f"{kind}:{sha256(text.encode()).hexdigest()}"
