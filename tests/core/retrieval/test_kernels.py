"""The compiled loops: nothing is compiled for a question, and they do what plain ones do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.domain.models import Filters, SearchQuery
from apps.core.retrieval import coarse, fusion, joining, kernels, waking
from apps.core.retrieval.dense import DenseHits
from apps.core.retrieval.loops import Loops
from tests.core.retrieval.test_search import opened, publish
from tests.fakes.embedder import HashedEmbedder
from tests.fakes.passages import passage

LOOPS = waking.LOOPS


async def test_no_question_waits_for_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked, every loop meets only the types that `load` has met."""
    monkeypatch.setattr(coarse, "WORTH_ROWS", 10)
    monkeypatch.setattr(coarse, "AXES", 8)
    embedder = HashedEmbedder()
    crowd = [passage(f"d{n}", f"금리 결정 {n}", tags=(f"t{n % 2}",)) for n in range(40)]
    publish(tmp_path, crowd, embedder)
    search = opened(tmp_path, embedder)
    search.refresh()
    search.compile()
    before = [loop.signatures for loop in LOOPS]  # type: ignore[attr-defined]
    for mode in ("lexical", "dense", "hybrid"):
        for tags in ((), ("t1",)):
            query = SearchQuery("금리는 얼마?", mode=mode, filters=Filters(tags=tags))  # type: ignore[arg-type]
            assert (await search.search(query)).hits
    assert [loop.signatures for loop in LOOPS] == before  # type: ignore[attr-defined]


SCORES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=40)


@given(SCORES, st.integers(1, 50))
def test_leaders_are_those_of_a_sort(scores: list[float], limit: int) -> None:
    """Best first, ties by row, never more than there are."""
    rows, best = np.zeros(limit, np.int64), np.zeros(limit, np.float32)
    held = 0
    for row in np.random.default_rng(len(scores)).permutation(len(scores)):
        held = kernels._placed(rows, best, held, row, np.float32(scores[row]))
    expected = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:limit]
    assert rows[:held].tolist() == expected


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_the_first_look_misses_no_leader(seed: int, wanted: int) -> None:
    """All rows of the highest sums are found, and hardly more."""
    rng = np.random.default_rng(seed)
    turned = rng.integers(-127, 128, (300, 16)).astype(np.int8)
    halves = (turned[:, :8].copy(), turned[:, 8:].copy())
    question = rng.integers(-4095, 4096, 16).astype(np.int16)
    allowed = rng.random(300) < 0.7
    found = kernels.first_look(halves, question, allowed, (300, wanted))
    sums = np.where(allowed, turned.astype(int) @ question.astype(int), -1)
    order = np.argsort(-sums, kind="stable")[:wanted]
    assert {row for row in order.tolist() if sums[row] >= 0} <= set(found.tolist())
    assert len(found) <= wanted + 20
    assert allowed[found].all()


LEG = st.dictionaries(st.integers(0, 9), st.integers(-2, 6), max_size=8)


@given(LEG, LEG, st.floats(0, 1), st.lists(st.booleans(), min_size=8, max_size=8))
def test_both_joins_are_equal(
    words: dict[int, int], meaning: dict[int, int], weight: float, foreign: list[bool]
) -> None:
    """Compiled or not, two legs join to the same rows and scores in the same order."""
    legs = []
    for found in (words, meaning):
        rows = sorted(found, key=lambda row: (-found[row], row))
        scores = np.array([found[row] for row in rows], np.float32)
        legs.append(DenseHits(np.array(rows, np.int64), scores))
    mask = np.array(foreign[: len(meaning)])
    plain, fast = (
        fusion.convex(*legs, 20, weight=weight, foreign=mask, join=join)
        for join in (Loops().convex, joining.convex)
    )
    assert fast.rows == plain.rows
    assert fast.scores == pytest.approx(plain.scores)
    assert (fast.lexical, fast.dense) == (plain.lexical, plain.dense)


def test_a_machine_without_a_compiler_searches_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the compiler says, the plain loops stay and a warning tells it."""

    def refuse() -> None:
        raise RuntimeError("no such processor")

    monkeypatch.setattr(waking, "load", refuse)
    loops = Loops()
    loops.load()
    assert loops.best_rows is Loops().best_rows
    assert loops.nearest is None
