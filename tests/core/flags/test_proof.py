"""Evidence that an auditor can compute again."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.flags.counters import Arms, Counters, StageCounters, Tally
from apps.core.flags.decision import assess
from apps.core.flags.evidence import ScoreState
from apps.core.flags.presets import preset
from apps.core.flags.proof import plain, verify_evidence
from apps.core.flags.states import Attempt, State

LOG = [(0, True, 0.2), (0, False, 0.8), (1, False, 0.9), (1, True, 0.3), (1, True, 0.1)]


def scored() -> ScoreState:
    state = ScoreState.fresh()
    for stage, share in ((0, 0.05), (1, 0.25)):
        votes = [(canary, score) for index, canary, score in LOG if index == stage]
        state = state.next_stage().after(*zip(*votes, strict=True), share)
    return state


def written(votes: int = 12) -> dict[str, Any]:
    arms = {
        "error": Arms(Tally(n=900, bad=15, votes=votes), Tally(n=9_000, bad=40, votes=40)),
        "node_error": Arms(Tally(n=900, bad=4, votes=2)),
    }
    stages = (
        StageCounters(0.05, 500, 9_500, 500, 10_000, arms),
        StageCounters(0.25, 250, 750, 300, 1_000, arms),
    )
    rollout = Attempt(preset("default"), State.RUNNING, stage=1)
    counters = Counters(stages, scores={"quality": scored()}, look=77)
    found = assess(rollout, counters, now=1_000.0)
    return json.loads(json.dumps(found.as_json(), allow_nan=False))  # type: ignore[no-any-return]


@given(st.integers(0, 100_000))
def test_written_evidence_verifies(votes: int) -> None:
    """Through JSON and back, also when E is beyond any float."""
    assert verify_evidence(written(votes))


def test_the_score_log_reproduces_the_wealth() -> None:
    """With the votes in the order of their ids even the wealth is recomputed."""
    assert verify_evidence(written(), scores={"quality": LOG})
    assert not verify_evidence(written(), scores={"quality": LOG[:-1]})
    assert not verify_evidence(written(), scores={"colour": LOG})


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return [
        leaf
        for key, item in pairs
        for leaf in (
            leaves(item, (*path, key)) if isinstance(item, dict | list) else [(*path, key)]
        )
    ]


DECIDING = {"w", "S1", "S0", "log_E", "E", "log_E_minus", "E_minus", "combined_E", "srm_E", "units"}


@pytest.mark.parametrize("key", sorted(DECIDING))
def test_a_changed_number_is_found(key: str) -> None:
    """Counts, shares and results of the compared metrics belong together."""
    paths = [path for path in leaves(written()) if key in path]
    error = [p for p in paths if p[0] != "metrics" or p[1] == 0]
    for path in error:
        forged = copy.deepcopy(written())
        place = forged
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = place[path[-1]] * (1 + 1e-6) + (
            1 if isinstance(place[path[-1]], int) else 0
        )
        assert not verify_evidence(forged), path


@pytest.mark.parametrize("torn", [{}, {"metrics": 3}, {"metrics": [{}]}, {"metrics": []}])
def test_torn_evidence_does_not_verify(torn: dict[str, object]) -> None:
    """It is refused without an exception."""
    assert not verify_evidence(torn)


def test_foreign_keys_are_ignored() -> None:
    """A writer may add what it likes."""
    assert verify_evidence({**written(), "host": "a"})


def test_a_huge_e_can_be_written() -> None:
    """JSON has no infinity."""
    assert np.isfinite(plain(1e6))
