"""Who may move a rollout where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.core.flags.policy import Policy
from apps.core.flags.states import (
    SERVING,
    TRANSITIONS,
    Actor,
    Attempt,
    State,
    allowed,
    start_refusal,
    step_allowed,
)

RUNNING = Attempt(Policy(), State.RUNNING)


def reachable(actor: Actor, start: State) -> set[State]:
    found, todo = set(), [start]
    while todo:
        here = todo.pop()
        there = {after for after in State if allowed(actor, here, after)} - found
        found |= there
        todo += there
    return found


@pytest.mark.parametrize("start", [state for state in State if state is not State.RUNNING])
def test_the_controller_never_reaches_more_on_without_a_person(start: State) -> None:
    """From every state but RUNNING the controller can only hold or take away."""
    assert not reachable(Actor.CONTROLLER, start) & {State.RUNNING, State.COMPLETED}


def test_a_person_may_do_all_that_the_controller_may() -> None:
    """No row belongs to the controller alone."""
    assert all(Actor.PERSON in actors for actors in TRANSITIONS.values())


@pytest.mark.parametrize("state", [state for state in State if state is not State.KILLED])
def test_anything_can_be_killed(state: State) -> None:
    """By anybody, from anywhere."""
    assert allowed(Actor.CONTROLLER, state, State.KILLED)


@pytest.mark.parametrize(
    ("before", "after"),
    [(State.HELD, State.RUNNING), (State.DRAFT, State.RUNNING), (State.ROLLED_BACK, State.RUNNING),
     (State.KILLED, State.RUNNING)],
)  # fmt: skip
def test_starting_and_resuming_belong_to_people(before: State, after: State) -> None:
    """A restart, a resume and a start are a person's."""
    assert allowed(Actor.PERSON, before, after)
    assert not allowed(Actor.CONTROLLER, before, after)


def test_what_is_over_is_not_changed_but_killed() -> None:
    """COMPLETED leads to KILLED only."""
    assert reachable(Actor.PERSON, State.COMPLETED) >= {State.KILLED}
    assert [s for s in State if allowed(Actor.PERSON, State.COMPLETED, s)] == [State.KILLED]


@pytest.mark.parametrize(
    ("rollout", "to_stage", "by_controller", "by_person"),
    [
        (RUNNING, 1, True, True),
        (RUNNING, 2, False, True),
        (RUNNING, 0, False, False),
        (RUNNING, 4, False, False),
        (replace(RUNNING, stage=2), 1, False, True),
        (replace(RUNNING, forced=True), 1, False, True),
        (replace(RUNNING, policy=Policy(auto_promote=False)), 1, False, True),
        (replace(RUNNING, state=State.HELD), 1, False, False),
    ],
)
def test_the_controller_takes_the_next_step_only(
    rollout: Attempt, to_stage: int, by_controller: bool, by_person: bool
) -> None:
    """And only of a ladder that a person started as automatic and has not forced."""
    assert step_allowed(Actor.CONTROLLER, rollout, to_stage) is by_controller
    assert step_allowed(Actor.PERSON, rollout, to_stage) is by_person


@pytest.mark.parametrize("state", State)
def test_only_serving_states_and_completion_are_on(state: State) -> None:
    """Whatever the stage, a rollout that is over or not begun serves nobody."""
    percent = Attempt(Policy(), state, stage=1).percent
    expected = 25.0 if state in SERVING else 100.0 if state is State.COMPLETED else 0.0
    assert percent == expected


def test_the_last_stage_keeps_its_holdback_until_completion() -> None:
    """5 % stay in the control, or the last stage would be blind."""
    assert Attempt(Policy(), State.RUNNING, stage=3).percent == 95.0


def test_a_rollback_is_followed_by_rest() -> None:
    """Within the cool-down a start is refused unless it is forced."""
    ended = Attempt(Policy(), State.ROLLED_BACK, ended_at=1_000.0)
    assert "another 3500 s" in (start_refusal(ended, now=1_100.0) or "")
    assert start_refusal(ended, now=1_100.0, force=True) is None
    assert start_refusal(ended, now=4_600.0) is None
    assert start_refusal(Attempt(Policy()), now=0.0) is None


@pytest.mark.parametrize("state", [State.RUNNING, State.HELD, State.COMPLETED])
def test_what_runs_is_not_started_again(state: State) -> None:
    """The refusal names the state, even with force."""
    assert state in (start_refusal(Attempt(Policy(), state), now=0.0, force=True) or "")
