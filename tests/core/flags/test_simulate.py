"""The statistics that FLAGS.md promises, small; `bench/rollout.py` has the full table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apps.core.errors import Unprocessable
from apps.core.flags.ladders import Ladders, Outcome
from apps.core.flags.metric import Metric, Role
from apps.core.flags.policy import Policy
from apps.core.flags.rules import Row
from apps.core.flags.scenario import Behaviour, Quality, Scenario, Weather
from apps.core.flags.simulate import OTHERS, QUALITY, at_share, guarded, report, simulate

SEED = 20261121
STICKY = replace(Policy(), min_units=50)


def ran(scenario: Scenario, *, reps: int, requests: int, look: int = 50) -> dict[str, object]:
    made = replace(scenario, requests=requests, look_requests=look)
    return report(simulate(made, reps=reps, seed=SEED))


def shares(found: dict[str, object]) -> tuple[float, float]:
    back, full = found["rolled_back_share"], found["reached_full_share"]
    assert isinstance(back, float)
    assert isinstance(full, float)
    return back, full


def median(found: dict[str, object]) -> float:
    detection = found["detection_requests"]
    assert isinstance(detection, dict)
    return float(detection["p50"])


@pytest.mark.parametrize(
    ("scenario", "reps"),
    [
        (guarded(Policy(), p0=0.01, risk=1.0), 1_000),
        (guarded(Policy(), p0=0.01, risk=1.0, guardrails=5), 300),
        (
            replace(
                guarded(Policy(), p0=0.01, risk=1.0), weather=Weather(outage_at_s=900.0, drift=0.5)
            ),
            500,
        ),
        (replace(guarded(STICKY, p0=0.01, risk=1.0), units=500), 300),
    ],
    ids=["plain", "five guardrails", "outage and drift", "sticky units"],
)
def test_a_harmless_canary_is_rarely_rolled_back(scenario: Scenario, reps: int) -> None:
    """At most 1 % at every look together; twice that is allowed for so few runs."""
    back, _ = shares(ran(scenario, reps=reps, requests=30_000, look=100))
    assert back <= 0.02


@pytest.mark.parametrize(("risk", "target"), [(2, 16_000), (5, 2_000), (50, 300)])
def test_harm_is_found_in_time(risk: float, target: int) -> None:
    """Medians at a canary share of 10 % and 1 % errors."""
    found = ran(guarded(at_share(0.1), p0=0.01, risk=risk), reps=300, requests=60_000)
    assert median(found) <= target


def test_slowness_is_found_in_time() -> None:
    """A slow share of 5 % that doubles."""
    made = Scenario(at_share(0.1), (replace(OTHERS[0], risk=2.0),))
    assert median(ran(made, reps=300, requests=20_000)) <= 3_500


def test_a_loss_of_quality_is_found_in_time() -> None:
    """Mean .80, deviation .20, canary .75."""
    made = Scenario(at_share(0.1), (), Quality(QUALITY, drop=0.05))
    assert median(ran(made, reps=200, requests=12_000)) <= 2_500


def test_good_releases_arrive_and_bad_ones_do_not() -> None:
    """At least 98 % of the good reach the last stage, at most 3 % of the bad."""
    good = ran(guarded(Policy(), p0=0.01, risk=1.0), reps=300, requests=150_000, look=200)
    bad = ran(guarded(Policy(), p0=0.01, risk=2.0), reps=600, requests=150_000, look=200)
    assert shares(good)[1] >= 0.98
    assert shares(bad)[1] <= 0.03


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("p0", [0.01, 0.05])
def test_tenfold_harm_never_arrives(p0: float, share: float) -> None:
    """A corner of the fault matrix: always found, and soon."""
    found = ran(guarded(at_share(share), p0=p0, risk=10.0), reps=100, requests=20_000)
    assert shares(found) == (1.0, 0.0)


def test_counting_a_units_errors_again_and_again_would_convict_the_innocent() -> None:
    """The fault that votes prevent: with repeated votes many harmless canaries are rolled back."""
    made = replace(guarded(STICKY, p0=0.01, risk=1.0), units=500, look_requests=100)
    ladders = Ladders.fresh(made, 200, np.random.default_rng(SEED))
    for _ in range(200):
        ladders.traffic._voted[:] = False  # type: ignore[attr-defined]
        ladders.advance()
    assert np.isfinite(ladders.outcome.rolled_back_at).mean() >= 0.05


def test_the_same_seed_gives_the_same_outcome() -> None:
    """And another one another."""
    made = replace(guarded(at_share(0.1), p0=0.01, risk=5.0), requests=5_000)
    first, again, other = (
        simulate(made, reps=50, seed=seed).rolled_back_at for seed in (SEED, SEED, SEED + 1)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_progress_ends_at_its_total() -> None:
    """A bar is told every look, also when all runs end early."""
    told: list[tuple[int, int]] = []
    made = replace(guarded(at_share(0.5), p0=0.5, risk=2.0), requests=20_000)
    simulate(made, reps=20, seed=SEED, told=lambda done, total: told.append((done, total)))
    assert told[-1] == (400, 400)


def ended(*rolled_back_at: float) -> Outcome:
    at = np.array(rolled_back_at)
    by = np.where(np.isfinite(at), int(Row.HARM), 0)
    return Outcome(at, np.full(len(at), np.inf), np.zeros(len(at), bool), by)


def test_quantiles_count_the_runs_that_never_end() -> None:
    """The median over all runs is None when most are never rolled back."""
    outcome = ended(50.0, np.inf, np.inf)
    assert report(outcome)["detection_requests"] == {"p50": None, "p90": None}
    found = ended(50.0, 100.0, np.inf)
    assert report(found)["detection_requests"] == {"p50": 100.0, "p90": None}
    assert report(found)["rolled_back_by"] == {"harm": 2 / 3}


@pytest.mark.parametrize(
    "fields",
    [{"p0": 1.5, "risk": 1}, {"p0": 0.1, "risk": -1}, {"p0": 0.1, "risk": 1, "guardrails": 7}],
)
def test_a_scenario_that_cannot_be_is_refused(fields: dict[str, float]) -> None:
    """Rates are shares, and there are six guardrails."""
    with pytest.raises(Unprocessable):
        guarded(Policy(), **fields)  # type: ignore[arg-type]


def test_only_compared_guardrails_are_simulated() -> None:
    """A signal or a limit would be silently ignored otherwise."""
    with pytest.raises(Unprocessable, match="feedback"):
        Scenario(Policy(), (Behaviour(Metric("feedback", role=Role.SIGNAL), 0.1),))


def test_an_impossible_score_is_refused() -> None:
    """No number in [0, 1] has mean .9 and deviation .5."""
    with pytest.raises(Unprocessable):
        Quality(QUALITY, mean=0.9, deviation=0.5)
