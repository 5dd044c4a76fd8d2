"""An embedder without a model: a text is the sum of fixed random vectors of its terms."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from apps.core.domain.ports import FloatArray
from apps.core.errors import ProviderBusy
from apps.core.text import tokens


class HashedEmbedder:
    """Texts that share bigrams are near; counts the questions that it embedded."""

    def __init__(self, embedder_id: str = "fake:hashed", dims: int = 32) -> None:
        self.id = embedder_id
        self.dims = dims
        self.asked: list[str] = []
        self.down = False

    def queries(self, texts: Sequence[str]) -> FloatArray:
        if self.down:
            raise ProviderBusy("down")
        self.asked.extend(texts)
        return self.passages(texts)

    def passages(self, texts: Sequence[str]) -> FloatArray:
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> FloatArray:
        vector = np.full(self.dims, 1e-3)
        for term in tokens.bigrams(text):
            vector += np.random.default_rng(zlib.crc32(term.encode())).normal(size=self.dims)
        return (vector / np.linalg.norm(vector)).astype(np.float32)
