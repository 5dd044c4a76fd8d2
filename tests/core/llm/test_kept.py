"""Kept vectors: embedded once, found again, whatever happened to the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from apps.core.domain.ports import FloatArray
from apps.core.llm.kept import KeptVectors


class CountingEmbedder:
    """Three numbers a text; remembers what it was asked."""

    id = "fake:counting/1"
    dims = 3

    def __init__(self) -> None:
        self.asked: list[str] = []

    def queries(self, texts: Sequence[str]) -> FloatArray:
        return self._embed(texts, 1.0)

    def passages(self, texts: Sequence[str]) -> FloatArray:
        return self._embed(texts, 2.0)

    def _embed(self, texts: Sequence[str], kind: float) -> FloatArray:
        self.asked += texts
        rows = [[kind, len(text), ord(text[0])] for text in texts]
        return np.array(rows, np.float32).reshape(-1, self.dims)


@pytest.fixture
def real() -> CountingEmbedder:
    return CountingEmbedder()


def test_a_second_run_embeds_nothing(real: CountingEmbedder, tmp_path: Path) -> None:
    """What one run embedded the next finds, in the order of its own texts."""
    first = KeptVectors(real, tmp_path).passages(["가나", "abc", "가나"])
    real.asked.clear()
    again = KeptVectors(real, tmp_path).passages(["abc", "가나"])
    assert real.asked == []
    assert again.tolist() == [first[1].tolist(), first[0].tolist()]


def test_a_question_is_not_a_passage(real: CountingEmbedder, tmp_path: Path) -> None:
    """The same text as a question has its own vector, because prefixes differ."""
    kept = KeptVectors(real, tmp_path)
    assert kept.passages(["같은 글"])[0, 0] != kept.queries(["같은 글"])[0, 0]


def test_a_record_cut_short_is_embedded_again(real: CountingEmbedder, tmp_path: Path) -> None:
    """A process killed while it wrote costs its last record and spoils none after it."""
    KeptVectors(real, tmp_path).passages(["one", "two"])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    real.asked.clear()
    mended = KeptVectors(real, tmp_path).passages(["one", "two", "three"])
    assert real.asked == ["two", "three"]
    real.asked.clear()
    assert KeptVectors(real, tmp_path).passages(["one", "two", "three"]).tolist() == mended.tolist()
    assert real.asked == []


def test_no_texts_have_no_vectors(real: CountingEmbedder, tmp_path: Path) -> None:
    """An empty list gives an empty matrix of the right width."""
    assert KeptVectors(real, tmp_path).queries([]).shape == (0, 3)
