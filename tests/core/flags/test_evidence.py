"""Evidence that may be looked at at any time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.flags import evidence as e
from apps.core.flags.evidence import ScoreState

shares = st.floats(0.001, 0.999)
counts = st.integers(0, 500)
votes = st.lists(st.tuples(st.booleans(), st.sampled_from([0.05, 0.25, 0.5, 0.95])), max_size=60)


@pytest.mark.parametrize(
    ("s1", "s0", "w", "expected"),
    [
        (3, 0, 0.1, 78.6046537992734),
        (3, 2, 0.1, 10.278213584364018),
        (10, 90, 0.1, 0.185256072748419),
        (0, 0, 0.3, 1.0),
    ],
)
def test_rollback_evidence_has_its_reference_values(
    s1: int, s0: int, w: float, expected: float
) -> None:
    """FLAGS.md 13.2."""
    found = math.exp(e.log_rollback(e.rollback_points(s1, s0, w)))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("s1", "s0", "w", "expected"),
    [(10, 90, 0.1, 9.51874779618205), (30, 30, 0.5, 21.3823708462291)],
)
def test_promotion_evidence_has_its_reference_values(
    s1: int, s0: int, w: float, expected: float
) -> None:
    """FLAGS.md 13.4."""
    found = math.exp(e.log_promotion(e.promotion_points(s1, s0, w)))
    assert found == pytest.approx(expected, rel=1e-9)


@given(counts, counts, st.floats(-20, 20))
def test_two_proofs_of_harmlessness_are_averaged(s1: int, s0: int, rate: float) -> None:
    """The larger of two E-processes is none: its mean would pass 1."""
    points = e.promotion_points(s1, s0, 0.1)
    found = float(e.log_harmless(points, rate))
    expected = np.logaddexp(float(e.log_promotion(points)), rate) - math.log(2)
    assert found == pytest.approx(expected, abs=1e-9)


def test_score_evidence_has_its_reference_value() -> None:
    """FLAGS.md 13.3: votes (1, .2), (0, .8), (0, .9), (1, .3) at w = .1."""
    state = ScoreState.fresh().after([True, False, False, True], [0.2, 0.8, 0.9, 0.3], 0.1)
    assert math.exp(e.log_score(state.points)) == pytest.approx(1.35904880857875, rel=1e-9)


def test_share_evidence_has_its_reference_value() -> None:
    """FLAGS.md 13.6, which gives four decimals."""
    assert math.exp(e.log_srm(130, 870, 0.1)) == pytest.approx(18.3556, abs=5e-5)


@given(n1=counts, n0=counts, w=shares)
def test_share_evidence_equals_the_beta_functions(n1: int, n0: int, w: float) -> None:
    """The formula of FLAGS.md, written with `math.lgamma`."""

    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    a, b = 100 * w, 100 * (1 - w)
    expected = log_beta(a + n1, b + n0) - log_beta(a, b) - n1 * math.log(w) - n0 * math.log1p(-w)
    assert float(e.log_srm(n1, n0, w)) == pytest.approx(expected, abs=1e-8)


@given(st.floats(1e-3, 1e7))
def test_log_gamma_agrees_with_the_standard_library(x: float) -> None:
    """The array version gives what `math.lgamma` gives."""
    assert float(e.log_gamma(x)) == pytest.approx(math.lgamma(x), rel=1e-12, abs=1e-12)


@given(w=shares, tolerated=st.floats(1, 10), below=st.floats(0, 1))
def test_no_rollback_bet_is_expected_to_win_while_the_canary_is_harmless(
    w: float, tolerated: float, below: float
) -> None:
    """Each vote's factor has mean ≤ 1 for every relative risk up to the tolerated one."""
    q = float(e.canary_share_of_votes(w, below * tolerated))
    canary = np.exp(e.rollback_points(1, 0, w, tolerated=tolerated))
    control = np.exp(e.rollback_points(0, 1, w, tolerated=tolerated))
    assert np.all(q * canary + (1 - q) * control <= 1 + 1e-9)


@given(w=shares, tolerated=st.floats(1, 3), above=st.floats(1, 20))
def test_no_promotion_bet_is_expected_to_win_while_the_canary_is_harmful(
    w: float, tolerated: float, above: float
) -> None:
    """Each vote's factor has mean ≤ 1 for every relative risk from the margin up."""
    margin = 1.3 * tolerated
    q = float(e.canary_share_of_votes(w, margin * above))
    canary, control = (
        np.exp(e.promotion_points(*vote, w, margin=margin, tolerated=tolerated))
        for vote in ((1, 0), (0, 1))
    )
    assert np.all(q * canary + (1 - q) * control <= 1 + 1e-9)


@given(limit=st.floats(0.0005, 0.45), below=st.floats(0, 1), above=st.floats(1, 2))
def test_no_bet_on_a_limit_is_expected_to_win_on_the_wrong_side(
    limit: float, below: float, above: float
) -> None:
    """A canary under its limit gives no evidence to roll back, one over it none to promote."""
    for rate, log_e in ((below * limit, e.log_cap_rollback), (above * limit, e.log_cap_promotion)):
        bad, good = math.exp(log_e(1, 1, limit)), math.exp(log_e(0, 1, limit))
        assert rate * bad + (1 - rate) * good <= 1 + 1e-9


def test_a_limit_needs_the_requests_of_the_rule() -> None:
    """FLAGS.md 13.5: about ln 20 / KL requests, 1,250 for 0.1 % under 0.5 %."""
    n = next(
        n for n in range(0, 5000, 10) if e.log_cap_promotion(n / 1000, n, 0.005) >= math.log(20)
    )
    assert 1_200 <= n <= 1_800


@given(votes)
def test_points_of_stages_add_up_to_the_vote_log(log: list[tuple[bool, float]]) -> None:
    """Vote by vote, look by look, and from counters give the same E, in any order."""
    one_by_one = sum((e.rollback_points(a, not a, w) for a, w in log), np.zeros(8))
    backwards = sum((e.rollback_points(a, not a, w) for a, w in reversed(log)), np.zeros(8))
    stages = {w: [0, 0] for _, w in log}
    for canary, w in log:
        stages[w][not canary] += 1
    counted = sum((e.rollback_points(*s, w) for w, s in stages.items()), np.zeros(8))
    for points in (one_by_one, backwards):
        assert float(e.log_rollback(points)) == pytest.approx(
            float(e.log_rollback(counted)), abs=1e-9
        )


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40), st.integers(0, 40)
)
def test_scores_may_come_in_pieces(log: list[tuple[bool, float]], cut: int) -> None:
    """The state after two looks is the state after one with all votes."""
    arms, values = [a for a, _ in log], [y for _, y in log]
    whole = ScoreState.fresh().after(arms, values, 0.25)
    split = ScoreState.fresh().after(arms[:cut], values[:cut], 0.25)
    split = split.after(arms[cut:], values[cut:], 0.25)
    np.testing.assert_allclose(split.points, whole.points, rtol=0, atol=1e-9)


def test_a_score_that_is_left_out_changes_nothing() -> None:
    """Masked votes are as if they had never come."""
    masked = ScoreState.fresh().after([1, 0, 1], [0.2, 0.7, 0.4], 0.1, counted=[1, 0, 1])
    plain = ScoreState.fresh().after([1, 1], [0.2, 0.4], 0.1)
    np.testing.assert_allclose(masked.points, plain.points)
    assert (float(masked.n), float(masked.total)) == (2.0, pytest.approx(0.6))


def test_the_mean_starts_anew_with_a_stage() -> None:
    """The first score of a stage is compared with one half, and the evidence stays."""
    before = ScoreState.fresh().after([1, 0], [0.2, 0.9], 0.1)
    after = before.next_stage().after([True], [0.5], 0.5)
    np.testing.assert_allclose(after.points, before.points)


@given(st.lists(st.floats(-800, 800), min_size=2, max_size=2))
def test_mixtures_do_not_overflow(logs: list[float]) -> None:
    """A combination lies between its members, however large they are."""
    mixed = float(e.log_mixture(logs, [0.5, 0.5]))
    assert min(logs) - 1e-9 <= mixed <= max(logs) + 1e-9


def test_a_harmless_canary_is_rarely_convicted_at_any_look() -> None:
    """500 votes looked at one by one: at most 1 % of the runs ever reach 100 (seed 7)."""
    rng = np.random.default_rng(7)
    canary = rng.random((4000, 500)) < 0.1
    s1 = np.cumsum(canary, axis=1)
    log_e = e.log_rollback(e.rollback_points(s1, np.arange(1, 501) - s1, 0.1))
    assert (log_e.max(axis=1) >= math.log(100)).mean() <= 0.01


def test_a_skewed_assignment_is_found_and_a_fair_one_is_not() -> None:
    """15 % instead of 10 % is found in the median after about 800 units (seed 8)."""
    rng = np.random.default_rng(8)
    looks = np.arange(50, 5001, 50)

    def found_at(share: float) -> np.ndarray:
        s1 = np.cumsum(rng.binomial(50, share, (400, len(looks))), axis=1)
        return np.argmax(e.log_srm(s1, looks - s1, 0.1) >= math.log(1000), axis=1)

    assert (found_at(0.1) == 0).all()
    assert 500 <= np.median(looks[found_at(0.15)]) <= 1_200
