"""Two variants compared at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apps.core.flags.comparison import compare_scores, compare_votes, mean_interval, risk_interval

ALPHA = 0.05
REPS = 400


def test_nothing_is_known_of_nothing() -> None:
    """No votes, no scores: E is 1 and the intervals hold everything."""
    votes = compare_votes(0, 0, 0.5, alpha=ALPHA)
    assert (votes.log_worse, votes.log_better) == pytest.approx((0.0, 0.0))
    assert (votes.interval.low, votes.interval.high) == (0.0, math.inf)
    scores = compare_scores([], [], 0.5, alpha=ALPHA)
    assert (scores.interval.low, scores.interval.high) == (-1.0, 1.0)
    assert scores.word(math.log(20)) == "undecided"


def test_both_directions_mirror_each_other() -> None:
    """What is worse for one is better for the other."""
    one, other = compare_votes(30, 10, 0.25, alpha=ALPHA), compare_votes(10, 30, 0.75, alpha=ALPHA)
    assert one.log_worse == pytest.approx(other.log_better)
    assert one.interval.low == pytest.approx(1 / other.interval.high)


def test_a_clear_difference_is_named() -> None:
    """Three times the failures, and a mean that is lower by 0.2."""
    assert compare_votes(90, 30, 0.5, alpha=ALPHA).word(math.log(40)) == "worse"
    assert compare_votes(30, 90, 0.5, alpha=ALPHA).word(math.log(40)) == "better"
    rng = np.random.default_rng(7)
    mine = rng.random(3_000) < 0.5
    y = np.where(mine, rng.beta(6, 4, 3_000), rng.beta(8, 2, 3_000))
    found = compare_scores(list(mine), list(y), 0.5, alpha=ALPHA)
    assert found.word(math.log(40)) == "worse"
    assert found.interval.low < -0.2 < found.interval.high < 0


def test_the_interval_of_a_mean_holds_at_every_look() -> None:
    """It may ever exclude the truth in 5 % of the runs; it does in fewer."""
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(REPS):
        found = mean_interval(rng.beta(8, 2, 500), alpha=ALPHA)
        # The intersection over all looks excludes the truth if any look did.
        wrong += not found.low <= 0.8 <= found.high
    assert wrong / REPS <= ALPHA


def test_the_interval_of_the_risk_holds_at_every_look() -> None:
    """Looked at after every vote, it excludes the true risk of 2 in 5 % of the runs at most."""
    rng = np.random.default_rng(13)
    share, risk = 0.3, 2.0
    q = share * risk / (share * risk + 1 - share)
    wrong = 0
    for _ in range(60):
        votes = np.cumsum(rng.random(200) < q)
        looks = [
            risk_interval(int(votes[n - 1]), n - int(votes[n - 1]), share, alpha=ALPHA)
            for n in range(4, 201, 4)
        ]
        wrong += any(not look.low <= risk <= look.high for look in looks)
    assert wrong / 60 <= ALPHA
