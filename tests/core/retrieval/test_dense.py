"""The scan gives exact cosines of centred vectors, and the inverted file the same order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.core.artifacts import vectors
from apps.core.retrieval import centres, dense, ivf
from apps.core.retrieval.loops import Loops
from tests.fakes.embedder import HashedEmbedder


def _units(rows: int, dims: int, seed: int) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(rows, dims)).astype(np.float32)
    matrix += np.where(np.arange(rows) % 2, 2.0, -1.0)[:, None].astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture
def matrix() -> np.ndarray:
    """Three thousand vectors in two clusters, as two languages are; every tenth is absent."""
    found = _units(3000, 24, seed=7)
    found[::10] = 0
    return found


LOOPS = Loops()
LOOPS.load()
LANGUAGES = ["en" if row % 2 else "ko" for row in range(3000)]


def test_the_scan_is_the_cosine_of_centred_vectors(matrix: np.ndarray) -> None:
    """No centred copy is made, yet scores equal those of one; absent rows never appear."""
    means = vectors.means(matrix, LANGUAGES)  # type: ignore[arg-type]
    leg = dense.open_leg(matrix, LANGUAGES, means, loops=LOOPS)
    assert leg is not None
    question = centres.unit(matrix[5] - matrix[8])
    hits = leg.search(question, allowed=None, limit=50)
    rows, away = dense.centred(matrix, LANGUAGES, means)
    expected = dict(zip(rows.tolist(), (away @ question).tolist(), strict=True))
    assert not set(range(0, 3000, 10)) & set(hits.rows)
    best = sorted(expected, key=lambda row: -expected[row])[:50]
    assert list(hits.rows) == best
    assert list(hits.scores) == pytest.approx([expected[row] for row in best], abs=1e-5)


def test_the_inverted_file_finds_what_the_scan_finds(matrix: np.ndarray, tmp_path: Path) -> None:
    """At least eight of ten leaders are the same, filtered or not."""
    means = vectors.means(matrix, LANGUAGES)  # type: ignore[arg-type]
    path = tmp_path / "ivf"
    ivf.build(path, *dense.centred(matrix, LANGUAGES, means))
    scan = dense.open_leg(matrix, LANGUAGES, means, exact_below=9000, loops=LOOPS)
    fast = dense.open_leg(
        matrix, LANGUAGES, means, inverted=ivf.open_inverted(path), exact_below=100, loops=LOOPS
    )
    assert scan and fast
    allowed = np.arange(3000) % 3 == 0
    for mask in (None, allowed, np.arange(3000) < 50):
        shared = 0
        for seed in range(10):
            question = centres.unit(matrix[7 * seed + 1] - matrix[100:200].mean(axis=0))
            one = scan.search(question, allowed=mask, limit=10)
            other = fast.search(question, allowed=mask, limit=10)
            shared += len(set(one.rows) & set(other.rows))
            assert mask is None or mask[list(other.rows)].all()
        assert shared >= 80


def test_a_mask_admits_only_its_rows(matrix: np.ndarray) -> None:
    """A forbidden row does not appear even when fewer rows than asked for remain."""
    means = vectors.means(matrix, LANGUAGES)  # type: ignore[arg-type]
    leg = dense.open_leg(matrix, LANGUAGES, means, loops=LOOPS)
    assert leg is not None
    allowed = np.zeros(3000, np.bool_)
    allowed[[1, 2, 10]] = True
    hits = leg.search(matrix[1], allowed=allowed, limit=50)
    assert sorted(hits.rows) == [1, 2]


def test_one_passage_of_a_language_keeps_its_meaning() -> None:
    """The mean of one passage is the passage; it is not taken away whole."""
    matrix = _units(1, 8, seed=1)
    leg = dense.open_leg(matrix, ["ko"], vectors.means(matrix, ["ko"]), loops=LOOPS)
    assert leg is not None
    assert leg.search(matrix[0], allowed=None, limit=1).scores[0] == pytest.approx(1, abs=1e-5)


def test_without_vectors_there_is_no_leg() -> None:
    """An index whose vectors are still to come has no dense leg."""
    assert dense.open_leg(np.zeros((3, 0), np.float32), ["ko"] * 3, {}, loops=LOOPS) is None
    assert ivf.open_inverted(Path("absent")) is None


def test_an_unknown_embedder_is_measured_with_our_questions() -> None:
    """Its question centres are the means of the reference questions in both languages."""
    embedder = HashedEmbedder()
    found = centres.load(embedder)
    assert len(embedder.asked) == 100
    vector = embedder.passages(["어느 나라인가?"])[0]
    assert np.linalg.norm(found.question(vector, "ko")) == pytest.approx(1, abs=1e-5)


def test_a_first_look_along_few_axes_loses_next_to_nothing() -> None:
    """On vectors with a few strong directions nine of ten leaders are those of the full scan."""
    rng = np.random.default_rng(3)
    basis = rng.normal(size=(60, 256)) * np.linspace(3, 0.5, 60)[:, None]
    found = (rng.normal(size=(5000, 60)) @ basis + rng.normal(size=(5000, 256))).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[::50] = 0
    names = ["ko"] * 5000
    means = vectors.means(found, names)  # type: ignore[arg-type]
    leg = dense.open_leg(found, names, means, loops=LOOPS)
    assert leg is not None
    assert leg.coarse is not None
    plain = replace(leg, coarse=None)
    allowed = np.arange(5000) % 2 == 1
    for mask in (None, allowed):
        shared = 0
        for row in range(1, 400, 20):
            question = centres.unit(found[row] + 0.05 * found[row + 1])
            quick = leg.search(question, allowed=mask, limit=10)
            shared += len(
                set(quick.rows) & set(plain.search(question, allowed=mask, limit=10).rows)
            )
            assert 0 not in {row % 50 for row in quick.rows}
            assert mask is None or mask[list(quick.rows)].all()
        assert shared >= 0.9 * 20 * 10
