"""Vectors kept in a file between runs, so that a corpus is embedded once and measured often."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from apps.core.domain.ports import Embedder, FloatArray

KEY_BYTES = 16


def kept(real: Embedder | None, folder: Path | None) -> Embedder | None:
    """`real`, keeping its vectors in `folder` when there is one."""
    return real if real is None or folder is None else KeptVectors(real, folder)


class KeptVectors:
    """An embedder that looks into `<folder>/<its name>.vectors` before it asks the real one.

    The file is a row of records: 16 bytes that name kind and text, then the vector. It only
    grows, and a record that a killed process cut short is dropped.
    """

    def __init__(self, real: Embedder, folder: Path) -> None:
        self.id = real.id
        self._real = real
        name = "".join(letter if letter.isalnum() else "-" for letter in real.id)
        self._path = folder / f"{name}.vectors"
        self._known: dict[bytes, FloatArray] | None = None

    @property
    def dims(self) -> int:
        """Length of a vector."""
        return self._real.dims

    def queries(self, texts: Sequence[str]) -> FloatArray:
        """(n, dims) unit vectors of questions."""
        return self._look(texts, kind="query", make=self._real.queries)

    def passages(self, texts: Sequence[str]) -> FloatArray:
        """(n, dims) unit vectors of passages."""
        return self._look(texts, kind="passage", make=self._real.passages)

    def _look(
        self, texts: Sequence[str], *, kind: str, make: Callable[[Sequence[str]], FloatArray]
    ) -> FloatArray:
        known = self._known = self._read() if self._known is None else self._known
        keys = [_key(kind, text) for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            vectors = make(list(new.values()))
            self._append(list(new), vectors)
            known.update(zip(new, vectors, strict=True))
        return np.stack([known[key] for key in keys]) if keys else make([])

    def _record(self) -> np.dtype[np.void]:
        return np.dtype([("key", f"V{KEY_BYTES}"), ("vector", "<f4", (self.dims,))])

    def _read(self) -> dict[bytes, FloatArray]:
        if not self._path.exists():
            return {}
        record, stored = self._record(), self._path.read_bytes()
        whole = len(stored) // record.itemsize
        if whole * record.itemsize < len(stored):
            with self._path.open("r+b") as file:
                file.truncate(whole * record.itemsize)
        rows = np.frombuffer(stored, record, count=whole)
        return {bytes(key): vector for key, vector in zip(rows["key"], rows["vector"], strict=True)}

    def _append(self, keys: Sequence[bytes], vectors: FloatArray) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = np.zeros(len(keys), self._record())
        rows["key"] = np.array(keys, f"V{KEY_BYTES}")
        rows["vector"] = vectors
        with self._path.open("ab") as file:
            file.write(rows.tobytes())


def _key(kind: str, text: str) -> bytes:
    content = f"{kind}\0{text}".encode("utf-8", "replace")
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()
