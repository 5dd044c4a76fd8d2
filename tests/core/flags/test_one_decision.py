"""Break what decides, and both the controller and the simulation must decide otherwise.

`test_ladders` compares every look of both; here a fault is planted in each function that they
share, so that neither can have got one of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from apps.core.flags import evidence, ladders, rules
from apps.core.flags.counters import Arms, Counters, Recent, StageCounters, Tally
from apps.core.flags.decision import Assessment, assess
from apps.core.flags.policy import Policy
from apps.core.flags.rules import Row
from apps.core.flags.simulate import ERROR, at_share, guarded, report, simulate
from apps.core.flags.states import Attempt, State

NOW = 100_000.0
HARMFUL = replace(guarded(at_share(0.1), p0=0.01, risk=20.0), requests=3_000, look_requests=100)
ALONE = replace(at_share(0.1), metrics=(ERROR,))


def controlled() -> Assessment:
    """A look at a canary with twenty times the errors."""
    counted = {"error": Arms(Tally(300, 60, 60), Tally(2_700, 27, 27))}
    stage = StageCounters(0.1, 300, 2_700, 300, 3_000, counted)
    recent = Recent(15, 1, 15, 1, {}, 500, NOW, NOW)
    rollout = Attempt(ALONE, State.RUNNING, stage_started_at=NOW - 900)
    return assess(rollout, Counters((stage,), recent), now=NOW)


def simulated() -> object:
    """How many of such canaries are rolled back."""
    return report(simulate(HARMFUL, reps=20, seed=1))["rolled_back_share"]


def nothing_seen(*shapes: object, **_named: object) -> np.ndarray:
    """No evidence, whatever was counted."""
    return np.zeros(np.shape(shapes[0])[:-1])


def no_points(canary: object, *_others: object, **_named: object) -> np.ndarray:
    return np.zeros((*np.shape(canary), len(evidence.WORSE)))


FAULTS: dict[str, Callable[..., np.ndarray]] = {
    "rollback_points": no_points,
    "log_rollback": nothing_seen,
    "log_mixture": nothing_seen,
}


def test_both_roll_harm_back() -> None:
    """Without a fault."""
    assert controlled().row is Row.HARM
    assert simulated() == 1.0


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_evidence_blinds_both(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What both call by this name is one function."""
    monkeypatch.setattr(evidence, name, FAULTS[name])
    assert controlled().row is not Row.HARM
    assert simulated() == 0.0


def test_a_fault_in_the_rules_blinds_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that always comes first leaves no other."""

    def always(reading: rules.Reading, _policy: Policy) -> np.ndarray:
        return np.ones(np.shape(reading.log_harm), bool)

    monkeypatch.setattr(rules, "silent", always)
    assert controlled().row is Row.NO_DATA
    assert simulated() == 0.0


def test_both_take_the_rules_from_one_place() -> None:
    """By identity, not by likeness."""
    from apps.core.flags import decision

    assert decision.judge is ladders.judge is rules.judge
