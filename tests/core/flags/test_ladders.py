"""The simulation decides as the controller does, vote for vote."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from apps.core.flags.counters import Arms, Counters, Recent, StageCounters, Tally
from apps.core.flags.decision import Assessment, Promote, decide
from apps.core.flags.evidence import ScoreState
from apps.core.flags.ladders import Ladders
from apps.core.flags.policy import Policy
from apps.core.flags.rules import Row
from apps.core.flags.scenario import Scenario, Weather
from apps.core.flags.simulate import guarded
from apps.core.flags.states import Attempt, State
from apps.core.flags.traffic import Batch

QUICK = Policy(dwell_s=60, min_units=20, min_control_units=20)


@dataclass
class Recount:
    """One rollout, counted vote by vote for the controller."""

    scenario: Scenario
    rollout: Attempt
    looks: list[tuple[int, int]] = field(default_factory=list)
    active: list[int] = field(default_factory=list)
    stages: list[StageCounters] = field(default_factory=list)
    scores: ScoreState = field(default_factory=ScoreState.fresh)
    heard: list[float | None] = field(default_factory=lambda: [None, None])

    def add(self, batch: Batch, i: int, now: float) -> None:
        if len(self.stages) == self.rollout.stage:
            self.stages.append(StageCounters(self.rollout.share))
            self.scores = self.scores.next_stage()
        stage, n1, n0 = self.stages[-1], int(batch.n1[i]), int(batch.n0[i])
        arms = {}
        for k, each in enumerate(self.scenario.behaviours):
            old, v1, v0 = stage.of(each.metric.name), int(batch.votes1[i, k]), batch.votes0[i, k]
            bad1 = old.canary.bad + int(batch.bad1[i, k])
            canary = Tally(old.canary.n + n1, bad1, old.canary.votes + v1)
            control = Tally(old.control.n + n0, votes=old.control.votes + int(v0))
            arms[each.metric.name] = Arms(canary, control)
        self.stages[-1] = StageCounters(
            stage.share,
            stage.canary_units + int(batch.new1[i]),
            stage.control_units + int(batch.new0[i]),
            stage.canary_seen + int(batch.seen1[i]),
            stage.requests + n1 + n0,
            arms,
        )
        kept = batch.counted[i]
        self.scores = self.scores.after(
            batch.canary[i][kept], batch.score[i][kept], self.rollout.share
        )
        self.looks.append((n1, int(batch.bad1[i, 0])))
        self.active = [int(n[i]) for n in (batch.active0, batch.active1, batch.failing1)]
        self.heard = [now if n else at for n, at in zip((n1, n0), self.heard, strict=True)]

    def judge(self, now: float) -> Assessment:
        policy, look_s = self.rollout.policy, self.scenario.look_s
        window = self.looks[-max(1, round(policy.breaker_window_s / look_s)) :]
        recent = Recent(
            canary_requests=sum(n for n, _ in window),
            canary_bad=sum(bad for _, bad in window),
            control_units=self.active[0],
            canary_units=self.active[1],
            canary_bad_units=self.active[2],
            canary_at=self.heard[0],
            control_at=self.heard[1],
        )
        counters = Counters(tuple(self.stages), recent, scores={"quality": self.scores})
        action = decide(self.rollout, counters, now=now)
        if isinstance(action, Promote):
            self.rollout = replace(self.rollout, stage=action.stage, stage_started_at=now)
        return action.evidence


BREAKING = replace(
    guarded(QUICK, p0=0.01, risk=1.0),
    requests=10_000,
    per_s=40.0,
    weather=Weather(outage_at_s=30.0, outage_factor=80.0),
)


def scenario(**fields: object) -> Scenario:
    made = guarded(QUICK, p0=0.02, risk=1.5, guardrails=6)
    return replace(made, **{"requests": 12_000, "look_requests": 100, **fields})


SCENARIOS = {
    "six": scenario(),
    "units": scenario(units=300),
    "few units": scenario(
        units=60, requests=4_000, weather=Weather(outage_at_s=200.0, outage_factor=40.0)
    ),
    "ladder": replace(guarded(QUICK, p0=0.02, risk=1.0), requests=20_000, look_requests=100),
    "climbing units": replace(
        guarded(
            Policy(stages=(20, 50, 100), dwell_s=0, min_units=70, min_control_units=5),
            p0=0.2,
            risk=0.8,
            drop=0.001,
        ),
        requests=8_000,
        units=400,
    ),
    "harm": replace(guarded(QUICK, p0=0.01, risk=60.0), requests=3_000, per_s=40.0),
    "breaker": BREAKING,
    "silence": replace(guarded(QUICK, p0=0.02, risk=1.0), requests=5_000, per_s=0.3),
}
RUNS = 8


@pytest.mark.parametrize("made", SCENARIOS.values(), ids=SCENARIOS)
def test_each_look_is_judged_as_the_controller_would(made: Scenario) -> None:
    """For eight rollouts, at every look, `decide` finds the same row from the same votes."""
    ladders = Ladders.fresh(made, RUNS, np.random.default_rng(5))
    rollouts = [Recount(made, Attempt(made.policy, State.RUNNING)) for _ in range(RUNS)]
    while len(ladders.index) and ladders.requests_so_far < made.requests:
        running = ladders.index.copy()
        ladders.advance()
        assert ladders.batch is not None
        assert ladders.rows is not None
        now = ladders.look * made.look_s
        for place, number in enumerate(running):
            rollouts[number].add(ladders.batch, place, now)
        expected = [rollouts[number].judge(now) for number in running]
        assert [Row(int(row)) for row in ladders.rows] == [each.row for each in expected]
        for name, values in numbers(expected).items():
            found = getattr(ladders.reading, name)
            np.testing.assert_allclose(found, values, rtol=0, atol=1e-8, err_msg=name)


def numbers(found: list[Assessment]) -> dict[str, list[float]]:
    """What the controller computed, by the names of a reading."""
    proofs = [each.proof for each in found]
    metrics = [[each for each in proof.metrics if each.log_e_minus is not None] for proof in proofs]
    return {
        "log_harm": [proof.log_harm for proof in proofs],
        "log_srm": [proof.log_srm for proof in proofs],
        "log_safe": [min(each.log_e_minus or 0.0 for each in some) for some in metrics],
    }


def test_the_comparison_above_meets_most_rows() -> None:
    """Promotions, rollbacks, breaker and silence all occur in it."""
    met = set()
    for made in SCENARIOS.values():
        ladders = Ladders.fresh(made, RUNS, np.random.default_rng(5))
        while len(ladders.index) and ladders.requests_so_far < made.requests:
            ladders.advance()
            assert ladders.rows is not None
            met |= {Row(int(row)) for row in ladders.rows}
    assert met >= {Row.STAY, Row.READY, Row.HARM, Row.BREAKER, Row.NO_DATA}
