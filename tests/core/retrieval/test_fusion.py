"""Two legs become one order in which neither can do harm by silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.retrieval import fusion
from apps.core.retrieval.dense import DenseHits as Leg


def leg(scores: dict[int, float]) -> Leg:
    """A leg, best first, ties by row."""
    order = sorted(scores, key=lambda row: (-scores[row], row))
    values = [scores[row] for row in order]
    return Leg(np.array(order, np.int64), np.array(values, np.float32))


LEGS = st.dictionaries(st.integers(0, 8), st.floats(0.125, 9, width=16), max_size=6).map(leg)
SILENT = leg({})


@given(LEGS, LEGS, st.floats(0, 1))
def test_scores_stay_between_nought_and_one(one: Leg, other: Leg, weight: float) -> None:
    """Both fusions give 0..1, sorted, each row once, and only rows that a leg found."""
    for fused in (
        fusion.convex(one, other, 20, weight=weight),
        fusion.reciprocal_rank(one, other, 20),
    ):
        scores = list(fused.scores)
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert sorted(fused.rows) == sorted({*one.rows.tolist(), *other.rows.tolist()})


@given(LEGS)
def test_a_silent_leg_changes_no_order(one: Leg) -> None:
    """With one leg silent the other's order is the result, whatever the weight says."""
    assert fusion.convex(one, SILENT, 20, weight=0.0).rows == one.rows.tolist()
    assert fusion.convex(SILENT, one, 20, weight=1.0).rows == one.rows.tolist()
    assert fusion.reciprocal_rank(one, SILENT, 20).rows == one.rows.tolist()


@given(LEGS, LEGS)
def test_equal_scores_are_ordered_by_row(one: Leg, other: Leg) -> None:
    """The order of equals does not depend on which leg named them first."""
    fused = fusion.convex(one, other, 20, weight=0.5)
    pairs = list(zip([-score for score in fused.scores], fused.rows, strict=True))
    assert pairs == sorted(pairs)


def test_words_that_the_corpus_lacks_say_little() -> None:
    """The lexical weight falls with the reach and never rises above its share."""
    weights = [fusion.lexical_weight(reach, 0.3) for reach in (0, 0.075, 0.15, 0.3, 0.9)]
    assert weights == pytest.approx([0, 0.175, 0.35, 0.7, 0.7])


def test_agreement_counts_shared_leaders() -> None:
    """Five of five shared is 1, none is 0, and a silent leg agrees with nobody."""
    one = leg({row: 9.0 - row for row in range(9)})
    assert fusion.agreement(one, one) == 1
    assert fusion.agreement(one, leg({20: 1.0})) == 0
    assert fusion.agreement(one, SILENT) is None


def test_a_passage_in_another_language_is_not_voted_down() -> None:
    """What the words cannot judge keeps a share of what its meaning earns."""
    words, meaning = leg({1: 9.0, 2: 1.0}), leg({1: 0.1, 3: 0.5})
    plain = fusion.convex(words, meaning, 20, weight=0.6)
    heard = fusion.convex(words, meaning, 20, weight=0.6, foreign=np.array([True, False]))
    assert dict(zip(plain.rows, plain.scores, strict=True))[3] == (pytest.approx(0.4))
    assert dict(zip(heard.rows, heard.scores, strict=True))[3] == pytest.approx(
        0.4 + 0.6 * fusion.DEAF_SHARE
    )


def test_cosines_below_nought_keep_their_order() -> None:
    """A leg that found only opposites still ranks them."""
    fused = fusion.convex(SILENT, leg({1: -0.1, 2: -0.2, 3: -0.3}), 20, weight=0.5)
    assert fused.rows == [1, 2, 3]
