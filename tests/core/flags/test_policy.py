"""What a policy accepts, and what it says of itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from apps.core.errors import Unprocessable
from apps.core.flags.metric import Form, Kind, Metric, Role
from apps.core.flags.policy import DAY_S, Policy
from apps.core.flags.presets import PRESETS, policy_from, policy_json, preset


def test_the_default_is_the_ladder_of_the_requirements() -> None:
    """5, 25, 50, 100 % with 5 % held back at the end."""
    policy = preset("default")
    assert [policy.share(stage) for stage in range(4)] == [0.05, 0.25, 0.5, 0.95]


def test_the_weekly_ladder_stays_a_week() -> None:
    """10, 50, 100 % with seven days in each stage."""
    policy = preset("weekly")
    assert (policy.stages, policy.dwell_s) == ((10, 50, 100), 7 * DAY_S)


def test_an_unknown_preset_is_refused() -> None:
    """The sentence names the known ones."""
    with pytest.raises(Unprocessable, match="default or weekly"):
        preset("daily")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_weights_of_all_members_add_up_to_one(name: str) -> None:
    """Otherwise the chance of a false rollback would not be α."""
    assert math.fsum(member.weight for member in preset(name).members) == pytest.approx(1.0)


def test_a_metric_with_a_limit_shares_its_weight() -> None:
    """Two forms of one metric weigh as much as one form of another."""
    policy = Policy(metrics=(Metric("error", limit=0.005), Metric("slow")))
    assert [(m.metric.name, m.form, m.weight) for m in policy.members] == [
        ("error", Form.VOTES, 0.25),
        ("error", Form.CAP, 0.25),
        ("slow", Form.VOTES, 0.5),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"stages": ()},
        {"stages": (5, 5, 100)},
        {"stages": (50, 25, 100)},
        {"stages": (0, 100)},
        {"stages": (5, 50)},
        {"stages": (5, 98, 100)},
        {"stages": (math.nan, 100)},
        {"holdback_pct": 0},
        {"holdback_pct": 6},
        {"metrics": (Metric("error"), Metric("error"))},
        {"metrics": (Metric("feedback", role=Role.SIGNAL),)},
        {"alpha": 0},
        {"alpha": 1},
        {"alpha_promote": math.nan},
        {"breaker_share": 0},
        {"signal_threshold": 1},
        {"srm_threshold": 0.5},
        {"dwell_s": -1},
        {"min_units": -1},
        {"silence_s": 0},
        {"breaker_requests": 0},
        {"max_stage_s": 60},
    ],
)
def test_a_policy_that_cannot_work_is_refused(change: dict[str, object]) -> None:
    """Each rule has a sentence of its own."""
    with pytest.raises(Unprocessable):
        replace(Policy(), **change)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "two words"},
        {"name": "a", "weight": 0},
        {"name": "a", "tolerated": 0.5},
        {"name": "a", "margin": 1.2},
        {"name": "a", "tolerated": 2.0},
        {"name": "a", "limit": 0},
        {"name": "a", "limit": 0.5},
        {"name": "a", "negligible": math.nan},
        {"name": "a", "fatal": 0},
        {"name": "a", "role": Role.ABSOLUTE},
        {"name": "a", "kind": Kind.SCORE, "role": Role.SIGNAL},
        {"name": "a", "kind": Kind.SCORE, "tolerated": 1.5, "margin": 3},
        {"name": "a", "kind": Kind.SCORE, "limit": 0.1},
    ],
)
def test_a_metric_that_cannot_work_is_refused(fields: dict[str, object]) -> None:
    """The margin must leave room above every bet of the promotion's mixture."""
    with pytest.raises(Unprocessable):
        Metric(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_policy_survives_json(name: str) -> None:
    """What is stored is what was started."""
    policy = preset(name)
    assert policy_from(json.loads(json.dumps(policy_json(policy)))) == policy


def test_a_body_may_replace_parts_of_a_preset() -> None:
    """Unnamed fields keep the preset's values."""
    policy = policy_from({"preset": "weekly", "stages": [1, 100], "metrics": [{"name": "error"}]})
    assert policy == replace(preset("weekly", metrics=[Metric("error")]), stages=(1, 100))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"stages": 5}, "stages must be a list, not 5."),
        ({"stages": ["5", 100]}, "stages must be a number, not '5'."),
        ({"stages": [True, 100]}, "stages must be a number, not True."),
        ({"alpha": "small"}, "alpha must be a number, not 'small'."),
        ({"dwell_s": None}, "dwell_s must be a number, not None."),
        ({"colour": "red"}, "A policy has no 'colour'; it has alpha, alpha_promote, auto_prom"),
        ({"auto_promote": "yes"}, "auto_promote must be true or false, not 'yes'."),
        ({"metrics": ["error"]}, "A metric must be an object, not 'error'."),
        ({"metrics": [{}]}, "A metric needs a name."),
        ({"metrics": [{"name": 5}]}, "name must be a text, not 5."),
        ({"metrics": [{"name": "e", "limit": "1"}]}, "limit must be a number, not '1'."),
        ({"metrics": [{"name": "e", "role": "king"}]}, "role must be guardrail or signal or ab"),
        ({"metrics": [{"name": "e", "kind": []}]}, "kind must be event or score, not []."),
        ({"metrics": [{"name": "e", "colour": "red"}]}, "A metric has no 'colour'; it has fatal"),
        ({"preset": "daily"}, "There is no preset 'daily'"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body: dict[str, object], says: str) -> None:
    """By a sentence in the words of whoever wrote the body."""
    with pytest.raises(Unprocessable) as refused:
        policy_from(body)
    assert refused.value.detail.startswith(says)


def test_an_unknown_metric_is_refused() -> None:
    """A metric must be in the policy to be asked for."""
    with pytest.raises(Unprocessable, match="'colour'"):
        Policy().metric("colour")
