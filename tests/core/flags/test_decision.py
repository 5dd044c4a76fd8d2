"""Each row of the controller's table, alone and against the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.flags.counters import (
    Arms,
    Counters,
    Health,
    NodeReport,
    Recent,
    StageCounters,
    Tally,
)
from apps.core.flags.decision import (
    STATE_AFTER,
    Action,
    Complete,
    Hold,
    Kill,
    Promote,
    Rollback,
    Stay,
    decide,
)
from apps.core.flags.evidence import ScoreState
from apps.core.flags.metric import Kind, Metric, Role
from apps.core.flags.node_watch import FAILURES
from apps.core.flags.policy import DAY_S, Policy
from apps.core.flags.rules import Row
from apps.core.flags.states import Actor, Attempt, State, allowed, step_allowed

NOW = 100_000.0
HEALTHY = Health()
SICK = (NodeReport("w1", 9, FAILURES),)
POLICY = Policy(
    metrics=(
        Metric("error"),
        Metric("quality", kind=Kind.SCORE),
        Metric("node_error", role=Role.ABSOLUTE, limit=0.02),
        Metric("feedback", role=Role.SIGNAL),
        Metric("pii_miss", role=Role.ABSOLUTE, fatal=1),
    )
)
RUNNING = Attempt(POLICY, State.RUNNING, stage_started_at=NOW - 3600)
HELD = replace(RUNNING, state=State.HELD, hold_reason="no_data", held_by=Actor.CONTROLLER)
PAUSED = replace(HELD, hold_reason="manual", held_by=Actor.PERSON)
FORCED = replace(RUNNING, forced=True)
RECENT = Recent(canary_requests=15, control_units=500, canary_at=NOW - 1, control_at=NOW - 1)
GOOD = {"error": Arms(Tally(n=1_500, bad=15, votes=15), Tally(n=28_500, bad=285, votes=285)),
        "node_error": Arms(canary=Tally(n=1_500))}  # fmt: skip
BAD = {**GOOD, "error": Arms(Tally(n=1_500, bad=40, votes=40), Tally(n=28_500, votes=285))}
NEW = {"error": Arms(Tally(n=50), Tally(n=950))}
ANNOYED = {**NEW, "feedback": Arms(Tally(votes=9), Tally(votes=10))}


def counted(arms: dict[str, Arms], **fields: Any) -> StageCounters:
    plain = {"canary_units": 1_500, "control_units": 28_500, "canary_seen": 1_500,
             "requests": 30_000}  # fmt: skip
    return StageCounters(0.05, arms=arms, **{**plain, **fields})


def seen(
    arms: dict[str, Arms] = GOOD,
    *,
    recent: Recent = RECENT,
    health: Health = HEALTHY,
    **fields: Any,
) -> Counters:
    return Counters((counted(arms, **fields),), recent, health)


def decided(rollout: Attempt, counters: Counters) -> Action:
    return decide(rollout, counters, now=NOW)


def test_a_proven_release_takes_the_next_step() -> None:
    """Evidence, units and dwell together promote by one stage."""
    action = decided(RUNNING, seen())
    assert isinstance(action, Promote)
    assert action.stage == 1
    assert action.evidence.blockers == ()


def test_the_last_step_ends_the_holdback() -> None:
    """At the last stage the soak replaces the dwell, and then the flag is on for everybody."""
    last = replace(RUNNING, stage=3, stage_started_at=NOW - DAY_S + 1)
    stage = StageCounters(0.95, 28_500, 1_500, 28_500, 30_000, GOOD)
    votes = {**GOOD, "error": Arms(Tally(n=28_500, bad=150, votes=150), Tally(votes=15))}
    counters = Counters((counted(GOOD), replace(stage, arms=votes)), RECENT)
    assert decided(last, counters).evidence.blockers == ("dwell",)
    assert isinstance(decide(last, counters, now=NOW + 1), Complete)


def test_a_ladder_that_is_not_automatic_waits_for_a_person() -> None:
    """It says that it is ready and does nothing."""
    action = decided(replace(RUNNING, policy=replace(POLICY, auto_promote=False)), seen())
    assert isinstance(action, Stay)
    assert action.reason == "ready"


@pytest.mark.parametrize("rollout", [HELD, PAUSED, FORCED])
def test_only_a_free_rollout_climbs(rollout: Attempt) -> None:
    """Evidence does not lift a hold, and does not leave a stage that a person forced."""
    assert isinstance(decided(rollout, seen()), Stay)


@pytest.mark.parametrize(
    ("rollout", "counters", "blocker"),
    [
        (RUNNING, seen(NEW), "not_proven_harmless"),
        (RUNNING, seen({**GOOD, "node_error": Arms(Tally(n=100))}), "limit_not_proven"),
        (RUNNING, seen(canary_seen=399), "few_units"),
        (replace(RUNNING, stage_started_at=NOW - 599), seen(), "dwell"),
    ],
)
def test_each_blocker_alone_keeps_the_stage(
    rollout: Attempt, counters: Counters, blocker: str
) -> None:
    """The answer names what is missing."""
    action = decided(rollout, counters)
    assert isinstance(action, Stay)
    assert blocker in action.evidence.blockers


def test_a_score_in_doubt_blocks_before_it_convicts() -> None:
    """E of 20 to 100 neither promotes nor rolls back."""
    doubt = ScoreState(np.full(4, np.log(50.0)), np.array(9.0), np.array(7.0))
    action = decided(RUNNING, replace(seen(), scores={"quality": doubt}))
    assert isinstance(action, Stay)
    assert action.evidence.blockers == ("score_in_doubt",)


ROLLBACKS = {
    "trigger": seen(health=Health(trigger="runbook 7")),
    "unhealthy": seen(health=Health(nodes=SICK)),
    "crash_loop": seen(health=Health(silences=(20.0, 60.0, 100.0))),
    "breaker": seen(
        recent=replace(
            RECENT, canary_requests=20, canary_bad=10, canary_units=6, canary_bad_units=3
        )
    ),
    "fatal": seen(recent=replace(RECENT, fatal={"pii_miss": 1})),
}


@pytest.mark.parametrize("cause", ROLLBACKS)
@pytest.mark.parametrize("rollout", [RUNNING, HELD, PAUSED, FORCED])
def test_plain_harm_rolls_back_whoever_stopped_it(rollout: Attempt, cause: str) -> None:
    """Rows 1 and 2 act in each state that serves the canary."""
    action = decided(rollout, ROLLBACKS[cause])
    assert isinstance(action, Rollback)
    assert action.reason in {"runbook 7", "unhealthy", "crash_loop", "breaker"}


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [(RUNNING, Rollback), (HELD, Rollback), (PAUSED, Stay), (FORCED, Stay)],
)
def test_evidence_does_not_overrule_a_person(rollout: Attempt, expected: type[Action]) -> None:
    """After a manual pause or a forced step the relative test is silent."""
    assert isinstance(decided(rollout, seen(BAD)), expected)


def test_evidence_against_a_forced_stage_is_advice() -> None:
    """The test still says what it would do."""
    assert decided(FORCED, seen(BAD)).evidence.advice is Row.HARM
    assert decided(RUNNING, seen(BAD)).evidence.advice is None


def test_a_rollback_names_the_metric() -> None:
    """The audit says which guardrail spoke."""
    action = decided(RUNNING, seen(BAD))
    assert isinstance(action, Rollback)
    assert action.reason == "harm:error"


@pytest.mark.parametrize(
    ("rollout", "counters", "reason"),
    [
        (RUNNING, seen(health=Health(vetoes=("host-a: FEATURE_X=false",))), "env_veto"),
        (RUNNING, seen(BAD, canary_units=2_500), "srm"),
        (RUNNING, seen(BAD, recent=replace(RECENT, control_units=49)), "no_data"),
        (RUNNING, seen(recent=replace(RECENT, canary_at=NOW - 600)), "no_data"),
        (RUNNING, seen(recent=replace(RECENT, control_at=None)), "no_data"),
        (RUNNING, seen({**GOOD, **ANNOYED, "error": GOOD["error"]}), "signal:feedback"),
        (RUNNING, seen(NEW, requests=400_000), "inconclusive"),
        (replace(RUNNING, stage_started_at=NOW - 7 * DAY_S), seen(NEW), "inconclusive"),
    ],
)
def test_doubt_holds(rollout: Attempt, counters: Counters, reason: str) -> None:
    """Share, silence and veto come before the tests; signals before a promotion."""
    action = decided(rollout, counters)
    assert isinstance(action, Hold)
    assert action.reason == reason


def test_silence_needs_ten_minutes() -> None:
    """A stage that has just begun has few units and is not silent."""
    young = replace(RUNNING, stage_started_at=NOW - 599)
    quiet = Recent(control_units=3, canary_at=None, control_at=NOW - 2_000)
    assert isinstance(decided(young, seen(NEW, recent=quiet)), Stay)


def test_a_skewed_share_suspends_the_test_while_held() -> None:
    """w is not trusted, so the evidence is not either."""
    assert isinstance(decided(HELD, seen(BAD, canary_units=2_500)), Stay)


@pytest.mark.parametrize(
    ("counters", "reason"),
    [
        (seen({**NEW, **ANNOYED}), "signal:feedback"),
        (seen(NEW, canary_units=2_500), "srm"),
        (seen(NEW, requests=500_000), "inconclusive"),
    ],
)
def test_a_hold_that_a_person_has_overruled_stays_overruled(
    counters: Counters, reason: str
) -> None:
    """The controller does not undo a resume at the next tick."""
    assert isinstance(decided(RUNNING, counters), Hold)
    assert isinstance(decided(replace(RUNNING, waived=frozenset({reason})), counters), Stay)


def test_a_resumed_stage_has_its_patience_back() -> None:
    """Silence and requests are counted from the resume."""
    resumed = replace(RUNNING, resumed_at=NOW - 5, resumed_requests=399_000)
    silent = seen(NEW, recent=Recent(), requests=400_500)
    assert isinstance(decided(RUNNING, silent), Hold)
    assert isinstance(decided(resumed, silent), Stay)


def test_requests_do_not_run_out_during_a_soak() -> None:
    """A busy service would otherwise be held before it could ever complete."""
    last = replace(RUNNING, stage=3, stage_started_at=NOW - DAY_S / 2)
    stage = replace(counted(NEW), share=0.95, canary_units=28_500, control_units=1_500)
    assert isinstance(decided(last, Counters((replace(stage, requests=900_000),), RECENT)), Stay)


def test_a_killed_flag_ends_the_rollout() -> None:
    """Before every other row."""
    health = Health(kills=("the flag",), nodes=SICK, vetoes=("a",))
    assert isinstance(decided(RUNNING, seen(BAD, health=health)), Kill)


@pytest.mark.parametrize(
    "state", [State.DRAFT, State.ROLLING_BACK, State.ROLLED_BACK, State.COMPLETED, State.KILLED]
)
def test_what_serves_nobody_is_left_alone(state: State) -> None:
    """Even without any stage to count."""
    action = decided(Attempt(POLICY, state), Counters((), health=Health(kills=("the flag",))))
    assert isinstance(action, Stay)
    assert action.reason == state


@pytest.mark.parametrize("fields", [(19, 19, 9, 9), (40, 19, 9, 9), (40, 30, 8, 3), (40, 40, 2, 2)])
def test_the_breaker_needs_many_bad_requests_of_many_units(
    fields: tuple[int, int, int, int],
) -> None:
    """Too few requests, too small a share, or one busy customer alone do not roll back."""
    names = ("canary_requests", "canary_bad", "canary_units", "canary_bad_units")
    recent = replace(RECENT, **dict(zip(names, fields, strict=True)))
    assert isinstance(decided(RUNNING, seen(NEW, recent=recent)), Stay)


def test_a_metric_that_never_turns_bad_is_no_obstacle() -> None:
    """Without bad votes nothing can be compared; proving a negligible rate is enough."""
    silent = {"error": Arms(Tally(n=5_000), Tally(n=95_000))}
    for negligible, expected in ((None, Stay), (0.001, Promote)):
        policy = Policy(metrics=(Metric("error", negligible=negligible),))
        rollout = replace(RUNNING, policy=policy)
        assert isinstance(decided(rollout, seen(silent)), expected)


def test_a_unit_that_fails_for_ever_is_one_vote() -> None:
    """5,000 errors of one customer do not roll back, and do not promote."""
    loud = {"error": Arms(Tally(n=6_000, bad=5_000, votes=1), Tally(n=95_000)),
            "node_error": Arms(Tally(n=6_000, bad=5_000, votes=1))}  # fmt: skip
    action = decided(RUNNING, seen(loud))
    assert isinstance(action, Stay)
    assert "limit_not_proven" in action.evidence.blockers


def test_too_many_node_errors_roll_back_without_a_control() -> None:
    """The node never runs in the control, so a fixed limit judges it."""
    broken = {**GOOD, "node_error": Arms(Tally(n=1_500, bad=120, votes=120))}
    action = decided(RUNNING, seen(broken))
    assert isinstance(action, Rollback)
    assert action.reason == "harm:node_error"


tallies = st.builds(
    lambda n, bad, votes: Tally(n, min(bad, n), min(votes, bad, n)),
    st.integers(0, 5_000), st.integers(0, 500), st.integers(0, 500),
)  # fmt: skip
stages = st.builds(
    lambda share, units, arms, requests: StageCounters(share, *units, requests, arms),
    st.sampled_from([0.05, 0.25, 0.5, 0.95]),
    st.tuples(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 5_000)),
    st.dictionaries(
        st.sampled_from(["error", "node_error", "feedback"]), st.builds(Arms, tallies, tallies)
    ),
    st.integers(0, 500_000),
)
moments = st.none() | st.floats(NOW - 2_000, NOW)
recents = st.builds(
    Recent, st.integers(0, 50), st.integers(0, 50), st.integers(0, 9), st.integers(0, 9),
    st.just({}) | st.just({"pii_miss": 1}),
    st.integers(0, 100), moments, moments,
)  # fmt: skip
healths = st.builds(
    Health, st.just(()) | st.just(("the flag",)), st.just(()) | st.just(SICK),
    st.just(()) | st.just((20.0, 60.0, 100.0)), st.none() | st.just("x"),
    st.just(()) | st.just(("a",)),
)  # fmt: skip
rollouts = st.builds(
    Attempt,
    st.sampled_from([POLICY, replace(POLICY, auto_promote=False)]),
    st.sampled_from(State),
    st.integers(0, 3),
    stage_started_at=st.floats(NOW - 8 * DAY_S, NOW),
    held_by=st.none() | st.sampled_from(Actor),
    forced=st.booleans(),
    resumed_at=moments,
    waived=st.frozensets(st.sampled_from(["srm", "inconclusive", "signal:feedback"])),
)


@given(rollouts, st.lists(stages, max_size=3), recents, healths)
def test_every_decision_is_one_that_the_controller_may_make(
    rollout: Attempt, counted: list[StageCounters], recent: Recent, health: Health
) -> None:
    """Whatever was counted: a transition of the table, and never more on than the next step."""
    action = decided(rollout, Counters(tuple(counted), recent, health))
    if isinstance(action, Stay):
        return
    assert allowed(Actor.CONTROLLER, rollout.state, STATE_AFTER[type(action)])
    if isinstance(action, Promote):
        assert step_allowed(Actor.CONTROLLER, rollout, action.stage)
    if isinstance(action, Complete):
        assert rollout.last
        assert rollout.policy.auto_promote
    if isinstance(action, Hold | Kill | Rollback) and rollout.held_by is Actor.PERSON:
        assert not (isinstance(action, Hold) and rollout.state is State.HELD)
