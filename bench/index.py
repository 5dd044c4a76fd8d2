"""A throw-away index of made passages with random unit vectors: for speed, never for quality."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from apps.core.domain.models import Passage
from apps.core.llm.embed import embedder
from apps.core.text.language import detect
from apps.ingestion.build import IndexRow, publish

SEED = 7
FALLBACK_DIMS = 384


def build(home: Path, rows: Sequence[tuple[str, str]]) -> str:
    """Publish `rows` (id, text) as an index under `home`; returns the version."""
    model = embedder("auto")
    dims = model.dims if model else FALLBACK_DIMS
    vectors = np.random.default_rng(SEED).normal(size=(len(rows), dims)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    added = [
        IndexRow(_passage(key, text), vector if model else None)
        for (key, text), vector in zip(rows, vectors, strict=True)
    ]
    embedder_id = model.id if model else None
    root = home / "artifacts"
    return publish(root, added=added, embedder_id=embedder_id, now=time.time())


def _passage(key: str, text: str) -> Passage:
    return Passage(f"{key}-0", key, "", text, 0, len(text), detect(text))
