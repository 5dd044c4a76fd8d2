"""Forecasts, compared with simulated rollouts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from apps.core.flags.evidence import log_promotion, promotion_points
from apps.core.flags.metric import Metric
from apps.core.flags.planning import (
    Expected,
    inverse_gaussian,
    plan,
    requests_for_votes,
    scores_to_detect,
    votes_by_rule,
    votes_to_detect,
)
from apps.core.flags.policy import Policy
from apps.core.flags.scenario import Quality, Scenario
from apps.core.flags.simulate import QUALITY, at_share, guarded, simulate

ALONE = Policy(metrics=(Metric("error"),))


@pytest.mark.parametrize(("risk", "votes"), [(2, 150), (5, 19), (10, 8)])
def test_the_rule_of_the_specification(risk: float, votes: int) -> None:
    """FLAGS.md 13.7 at a share of 10 %."""
    assert round(votes_by_rule(risk, 0.1, alpha=0.01)) == votes


@pytest.mark.parametrize(
    ("risk", "share", "p0"),
    [(2.0, 0.1, 0.01), (3.0, 0.25, 0.01), (2.0, 0.5, 0.05), (5.0, 0.05, 0.05)],
)
def test_forecast_quantiles_are_near_simulated_ones(risk: float, share: float, p0: float) -> None:
    """Both quantiles within a quarter."""
    votes = votes_to_detect(risk, share, alpha=0.01)
    made = replace(guarded(at_share(share), p0=p0, risk=risk), requests=100_000, look_requests=25)
    found = np.sort(simulate(made, reps=400, seed=3).rolled_back_at)
    for expected, p in ((votes.p50, 0.5), (votes.p90, 0.9)):
        forecast = requests_for_votes(expected, rate=p0, risk=risk, share=share)
        assert forecast == pytest.approx(np.quantile(found, p, method="lower"), rel=0.25)


def test_the_forecast_of_a_score_is_near_simulated_ones() -> None:
    """A loss of .05 at 10 %, within a quarter."""
    quality = Quality(QUALITY, drop=0.05)
    made = replace(Scenario(at_share(0.1), (), quality), requests=12_000)
    found = simulate(made, reps=200, seed=3).rolled_back_at
    assert scores_to_detect(quality, 0.1, alpha=0.01).p50 == pytest.approx(
        np.median(found), rel=0.25
    )


def test_a_stage_is_left_when_the_evidence_suffices() -> None:
    """At the forecast the mean path has just reached 1/α_p."""
    stage = plan(ALONE, Expected({"error": 0.01}, per_s=5.0))[0]
    assert stage.waits_for == "error"
    votes = 0.01 * stage.leave
    points = promotion_points(0.05 * votes, 0.95 * votes, 0.05)
    assert float(log_promotion(points)) == pytest.approx(math.log(20), rel=1e-3)


def test_later_stages_wait_for_dwell_or_units() -> None:
    """The evidence of the first stage is kept, so only time or people are missing."""
    slow, quick = (plan(ALONE, Expected({"error": 0.01}, per_s=per_s))[1] for per_s in (0.5, 5.0))
    assert (slow.waits_for, slow.leave) == ("units", 1_600)
    assert (quick.waits_for, quick.leave) == ("dwell", 3_000)


def test_a_stage_over_its_cap_is_told() -> None:
    """One error in 10,000 cannot be compared within 400,000 requests at 5 %."""
    stage = plan(ALONE, Expected({"error": 0.0001}, per_s=5.0))[0]
    assert stage.over_cap
    assert not plan(ALONE, Expected({"error": 0.01}, per_s=50.0))[-1].over_cap


def test_a_metric_without_bad_events_says_never() -> None:
    """Nothing is seen and nothing proven, unless a negligible rate is named."""
    stage = plan(ALONE, Expected({"error": 0.0}, per_s=5.0))[0]
    assert math.isinf(stage.leave)
    assert math.isinf(stage.detect["error"].p50)
    assert math.isfinite(plan(Policy(), Expected({"error": 0.0}, per_s=5.0))[0].leave)


def test_more_guardrails_see_later() -> None:
    """Each gets only its share of α."""
    stage = plan(Policy(), Expected({"error": 0.01}, 5.0, quality=Quality(QUALITY, drop=0.05)))[0]
    assert set(stage.alone) == {"error", "quality"}
    assert all(stage.alone[name].p50 < stage.detect[name].p50 for name in stage.alone)


def test_a_risk_within_tolerance_is_never_seen() -> None:
    """What is tolerated does not roll back."""
    assert math.isinf(votes_to_detect(1.5, 0.1, alpha=0.01, tolerated=2.0).p50)


def test_the_inverse_gaussian_is_a_distribution() -> None:
    """It rises from 0 to 1, and its mean is 1."""
    x = np.linspace(0.0, 60.0, 60_001)
    values = np.array([inverse_gaussian(float(each), 2.5) for each in x])
    assert values[0] == 0.0
    assert values[-1] == pytest.approx(1.0)
    assert (np.diff(values) >= -1e-12).all()
    assert np.trapezoid(1 - values, x) == pytest.approx(1.0, rel=1e-3)
