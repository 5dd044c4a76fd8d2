"""Many rollouts climbing at once: the counting of `decision`, in arrays.

Only the counting differs from one real rollout: evidence comes from `evidence` and every decision
from `rules.judge`, which `decision.decide` calls too. A test lets `decide` judge the same votes one
rollout at a time and compares every look.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from apps.core.flags import evidence as e
from apps.core.flags.evidence import BoolArray, FloatArray, ScoreState
from apps.core.flags.rules import Reading, Row, judge
from apps.core.flags.scenario import Scenario
from apps.core.flags.traffic import (
    Batch,
    IntArray,
    Load,
    RequestTraffic,
    Traffic,
    UnitTraffic,
    Window,
)

ROLLED_BACK = (Row.TRIGGERED, Row.UNHEALTHY, Row.CRASH_LOOP, Row.BREAKER, Row.HARM)
HELD = (Row.VETOED, Row.SRM, Row.NO_DATA, Row.SIGNAL, Row.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How each run (n,) ended; a number of requests is infinite where it never happened.

    Attributes:
        ended_by: the `Row` that ended it; 0 where none did.
    """

    rolled_back_at: FloatArray
    full_at: FloatArray
    held: BoolArray
    ended_by: IntArray


@dataclass(slots=True)
class Ladders:
    """Rollouts in progress; arrays have one row (r,) for each that still runs.

    Attributes:
        index: (r,) place in `outcome`.
        stage, entered: (r,) index of the stage, and the look at which it began.
        worse, fine: (r, k, 8) and (r, k, 4) points of the votes over the epoch.
        n1, bad1: (r,) and (r, k) canary exposures, and bad ones, over the epoch.
        score: state of the score metric.
        srm: (r,) log evidence of the stages left behind.
        units: (r, 2) units first seen in this stage, canary and control.
        seen1, requests: (r,) canary units and exposures of this stage.
        heard: (r, 2) look in which the arms were last seen.
        breaker: canary requests and bad ones of the last `breaker_window_s`.
        batch, reading, rows: the last look, what was read from it, and what was decided.
    """

    scenario: Scenario
    traffic: Traffic
    outcome: Outcome
    index: IntArray
    stage: IntArray
    entered: IntArray
    worse: FloatArray
    fine: FloatArray
    n1: IntArray
    bad1: IntArray
    score: ScoreState
    srm: FloatArray
    units: IntArray
    seen1: IntArray
    requests: IntArray
    heard: IntArray
    breaker: tuple[Window, Window]
    look: int = 0
    batch: Batch | None = None
    reading: Reading | None = None
    rows: IntArray | None = None

    @staticmethod
    def fresh(scenario: Scenario, r: int, rng: np.random.Generator) -> Ladders:
        """Start `r` rollouts at the first stage."""
        k, policy = len(scenario.behaviours), scenario.policy
        silence = max(1, round(policy.silence_s / scenario.look_s))
        last = max(1, round(policy.breaker_window_s / scenario.look_s))
        load = Load(scenario.behaviours, scenario.quality, scenario.look_requests, silence, last)
        traffic: Traffic = RequestTraffic(load, r, rng)
        if scenario.units is not None:
            traffic = UnitTraffic(load, r, scenario.units, rng)
        # Every field is replaced at each look, never changed in place, so one zero serves all.
        zero = np.zeros(r, np.int64)
        return Ladders(
            scenario=scenario,
            traffic=traffic,
            outcome=Outcome(np.full(r, np.inf), np.full(r, np.inf), np.zeros(r, bool), zero.copy()),
            index=np.arange(r),
            stage=zero,
            entered=zero,
            worse=np.zeros((r, k, len(e.WORSE))),
            fine=np.zeros((r, k, len(e.HARMLESS))),
            n1=zero,
            bad1=np.zeros((r, k), np.int64),
            score=ScoreState.fresh((r,)),
            srm=np.zeros(r),
            units=np.zeros((r, 2), np.int64),
            seen1=zero,
            requests=zero,
            heard=np.zeros((r, 2), np.int64),
            breaker=(Window(r, last), Window(r, last)),
        )

    @property
    def requests_so_far(self) -> int:
        """Exposures of each run since its start."""
        return self.look * self.scenario.look_requests

    def advance(self) -> None:
        """Let one look's requests come, judge, and move on."""
        scenario, policy = self.scenario, self.scenario.policy
        shares = np.array([policy.share(stage) for stage in range(len(policy.stages))])
        share = shares[self.stage]
        batch = self.traffic.draw(share, scenario.weather.factor(self.look * scenario.look_s))
        self.look += 1
        self._count(batch, share)
        self.batch, self.reading = batch, self._read(batch, share)
        self.rows = rows = judge(self.reading, policy)
        self._step(rows == Row.READY, share)
        self._finish(rows)

    def _count(self, batch: Batch, share: FloatArray) -> None:
        for k, metric in enumerate(each.metric for each in self.scenario.behaviours):
            s1, s0, tolerated = batch.votes1[:, k], batch.votes0[:, k], metric.tolerated
            self.worse[:, k] += e.rollback_points(s1, s0, share, tolerated=tolerated)
            self.fine[:, k] += e.promotion_points(
                s1, s0, share, margin=metric.margin, tolerated=tolerated
            )
        if self.scenario.quality:
            self.score = self.score.after(batch.canary, batch.score, share, counted=batch.counted)
        self.n1 = self.n1 + batch.n1
        self.bad1 = self.bad1 + batch.bad1
        self.units = self.units + np.stack([batch.new1, batch.new0], axis=1)
        self.seen1 = self.seen1 + batch.seen1
        self.requests = self.requests + self.scenario.look_requests
        spoke = np.stack([batch.n1, batch.n0], axis=1) > 0
        self.heard = np.where(spoke, self.look, self.heard)

    def _read(self, batch: Batch, share: FloatArray) -> Reading:
        policy, yes = self.scenario.policy, np.ones(len(share), bool)
        age_s = (self.look - self.entered) * self.scenario.look_s
        # The real controller measures silence from the stage's start at the earliest.
        heard = np.maximum(self.heard.min(axis=1), self.entered)
        logs = [*np.moveaxis(e.log_rollback(self.worse), -1, 0)]
        doubt = e.log_score(self.score.points)
        if self.scenario.quality:
            logs.append(doubt)
        return Reading(
            serving=yes,
            climbing=yes,
            testing=yes,
            last=self.stage == policy.last_stage,
            log_harm=e.log_mixture(
                np.stack(logs, axis=-1), [member.weight for member in policy.members]
            ),
            log_srm=self._log_srm(share),
            log_signal=np.full(len(share), -np.inf),
            log_safe=self._log_safe(),
            log_capped=np.full(len(share), np.inf),
            log_doubt=doubt,
            canary_requests=self.breaker[0].push(batch.n1),
            canary_bad=self.breaker[1].push(batch.bad1[:, :1].sum(axis=1)),
            canary_units=batch.active1,
            canary_bad_units=batch.failing1,
            units=self.seen1,
            age_s=age_s,
            patience_s=age_s,
            patience_requests=self.requests,
            silent_s=(self.look - heard) * self.scenario.look_s,
            control_units=batch.active0,
        )

    def _log_srm(self, share: FloatArray) -> FloatArray:
        return self.srm + e.log_srm(self.units[:, 0], self.units[:, 1], share)

    def _log_safe(self) -> FloatArray:
        logs = e.log_promotion(self.fine)
        for k, each in enumerate(self.scenario.behaviours):
            if each.metric.negligible is not None:
                rate = e.log_cap_promotion(self.bad1[:, k], self.n1, each.metric.negligible)
                logs[:, k] = e.log_harmless(self.fine[:, k], rate)
        return np.asarray(logs.min(axis=1, initial=np.inf))

    def _step(self, ready: BoolArray, share: FloatArray) -> None:
        policy = self.scenario.policy
        up = ready & (self.stage < policy.last_stage) & policy.auto_promote
        if not up.any():
            return
        self.srm = np.where(up, self._log_srm(share), self.srm)
        self.stage = self.stage + up
        self.entered = np.where(up, self.look, self.entered)
        for name in ("seen1", "requests"):
            setattr(self, name, np.where(up, 0, getattr(self, name)))
        self.units = np.where(up[:, None], 0, self.units)
        stays = ~up
        self.score = replace(self.score, n=self.score.n * stays, total=self.score.total * stays)
        self.traffic.enter_stage(up)
        full = self.index[up & (self.stage == policy.last_stage)]
        self.outcome.full_at[full] = self.requests_so_far

    def _finish(self, rows: IntArray) -> None:
        back, held = np.isin(rows, ROLLED_BACK), np.isin(rows, HELD)
        ended = back | held
        completed = (rows == Row.READY) & (self.stage == self.scenario.policy.last_stage)
        # A run that has just stepped up to the last stage is READY too, but begins there.
        ended |= completed & (self.entered < self.look) & self.scenario.policy.auto_promote
        self.outcome.rolled_back_at[self.index[back]] = self.requests_so_far
        self.outcome.held[self.index[held]] = True
        self.outcome.ended_by[self.index[ended]] = rows[ended]
        if ended.any():
            self._take(~ended)

    def _take(self, kept: BoolArray) -> None:
        for name in ROWS:
            setattr(self, name, getattr(self, name)[kept])
        points, n, total = (getattr(self.score, field.name) for field in fields(self.score))
        self.score = ScoreState(points[kept], n[kept], total[kept])
        self.traffic = self.traffic.take(kept)
        for window in self.breaker:
            window.take(kept)


ROWS = (
    "index", "stage", "entered", "worse", "fine", "n1", "bad1", "srm", "units", "seen1",
    "requests", "heard",
)  # fmt: skip
