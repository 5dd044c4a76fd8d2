"""What the controller does next with a rollout: one pure function of what is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from apps.core.flags.counters import Counters, StageCounters
from apps.core.flags.metric import Kind, Role
from apps.core.flags.proof import MetricEvidence, Proof, prove
from apps.core.flags.rules import Reading, Row, blockers, judge
from apps.core.flags.states import SERVING, Actor, Attempt, State


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one look found; the audit row of a decision holds its JSON.

    Attributes:
        row: the rule that applies.
        blockers: what is missing for the next step.
        advice: what the rules would say if no person had forced this stage; else None.
    """

    row: Row
    proof: Proof
    blockers: tuple[str, ...]
    advice: Row | None
    stage: int
    epoch: int
    look: int
    at: float

    def as_json(self) -> dict[str, object]:
        """Write it as JSON values; `verify_evidence` accepts them."""
        return {
            **self.proof.as_json(),
            "row": self.row.name.lower(),
            "blockers": list(self.blockers),
            "advice": None if self.advice is None else self.advice.name.lower(),
            "stage": self.stage,
            "epoch": self.epoch,
            "look": self.look,
            "at": self.at,
        }


@dataclass(frozen=True, slots=True)
class Stay:
    """Change nothing; `reason` is `waiting`, `ready` (a person may promote) or the state."""

    reason: str
    evidence: Assessment


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the share and wait for a person."""

    reason: str
    evidence: Assessment


@dataclass(frozen=True, slots=True)
class Promote:
    """Go to `stage`, an index into the policy's stages."""

    stage: int
    evidence: Assessment


@dataclass(frozen=True, slots=True)
class Rollback:
    """Take everybody off the canary."""

    reason: str
    evidence: Assessment


@dataclass(frozen=True, slots=True)
class Complete:
    """End the holdback: the flag is on for everybody."""

    evidence: Assessment


@dataclass(frozen=True, slots=True)
class Kill:
    """Record that the flag was killed; it is off already."""

    evidence: Assessment


Action = Stay | Hold | Promote | Rollback | Complete | Kill

STATE_AFTER: dict[type[Action], State] = {
    Hold: State.HELD,
    Promote: State.RUNNING,
    Rollback: State.ROLLING_BACK,
    Complete: State.COMPLETED,
    Kill: State.KILLED,
}
"""Where an action leads; `Stay` leads nowhere."""


def decide(rollout: Attempt, counters: Counters, *, now: float) -> Action:
    """Say what the controller does at this look; the caller does it in one transaction.

    Args:
        rollout: where it stands.
        counters: everything counted in this epoch.
        now: UTC seconds, of the clock that stamped the counters.
    """
    found = assess(rollout, counters, now=now)
    match found.row:
        case Row.KILLED:
            return Kill(found)
        case Row.TRIGGERED | Row.UNHEALTHY | Row.CRASH_LOOP | Row.BREAKER | Row.HARM:
            return Rollback(_reason(rollout, counters, found), found)
        case Row.VETOED | Row.SRM | Row.NO_DATA | Row.SIGNAL | Row.INCONCLUSIVE:
            return Hold(_reason(rollout, counters, found), found)
        case Row.READY:
            return _step(rollout, found)
        case _:
            running = rollout.state is State.RUNNING
            return Stay("waiting" if running else str(rollout.state), found)


def assess(rollout: Attempt, counters: Counters, *, now: float) -> Assessment:
    """Compute evidence, the rule that applies, and what blocks the next step."""
    proof = prove(rollout.policy, counters)
    reading = _read(rollout, counters, proof, now=now)
    row = Row(int(judge(reading, rollout.policy)))
    missing = blockers(reading, rollout.policy)
    return Assessment(
        row=row,
        proof=proof,
        blockers=tuple(name for name, blocks in missing.items() if bool(blocks)),
        advice=_advice(rollout, counters, proof, now=now) if rollout.forced else None,
        stage=rollout.stage,
        epoch=rollout.epoch,
        look=counters.look,
        at=now,
    )


def _advice(rollout: Attempt, counters: Counters, proof: Proof, *, now: float) -> Row:
    reading = _read(rollout, counters, proof, now=now, advising=True)
    return Row(int(judge(reading, rollout.policy)))


def _step(rollout: Attempt, found: Assessment) -> Action:
    if not rollout.policy.auto_promote:
        return Stay("ready", found)
    return Complete(found) if rollout.last else Promote(rollout.stage + 1, found)


def _reason(rollout: Attempt, counters: Counters, found: Assessment) -> str:
    """Say why, in the words that the state and the audit keep."""
    if found.row is Row.TRIGGERED:
        return str(counters.health.trigger)
    if found.row is Row.VETOED:
        return "env_veto"
    if found.row is Row.SIGNAL:
        loudest = max(_signals(found.proof, rollout.waived), key=lambda signal: signal.log_e or 0.0)
        return f"signal:{loudest.metric.name}"
    if found.row is Row.HARM:
        return f"harm:{_loudest(found.proof)}"
    return found.row.name.lower()


def _loudest(proof: Proof) -> str:
    """Name the metric that contributes most to the combined evidence."""
    by_name = {found.metric.name: found for found in proof.metrics}
    terms = {
        (name, form): by_name[name].log_of(form) + math.log(v) for name, form, v in proof.weights
    }
    return max(terms, key=lambda term: terms[term])[0]


def _read(
    rollout: Attempt, counters: Counters, proof: Proof, *, now: float, advising: bool = False
) -> Reading:
    running, waived = rollout.state is State.RUNNING, rollout.waived
    by_controller = rollout.state is State.HELD and rollout.held_by is Actor.CONTROLLER
    free = advising or not rollout.forced
    recent, health = counters.recent, counters.health
    stage = counters.stages[-1] if counters.stages else StageCounters(rollout.share)
    started = rollout.stage_started_at
    since = started if rollout.resumed_at is None else max(started, rollout.resumed_at)
    fatal = any(
        recent.fatal.get(metric.name, 0) >= metric.fatal
        for metric in rollout.policy.metrics
        if metric.fatal is not None
    )
    return Reading(
        serving=rollout.state in SERVING,
        climbing=running and free,
        testing=(running or by_controller) and free,
        last=rollout.last,
        **_logs(proof, waived),
        canary_requests=recent.canary_requests,
        canary_bad=recent.canary_bad,
        canary_units=recent.canary_units,
        canary_bad_units=recent.canary_bad_units,
        units=stage.canary_seen,
        age_s=now - started,
        patience_s=now - since,
        patience_requests=stage.requests - rollout.resumed_requests,
        silent_s=now - min(max(at or since, since) for at in (recent.canary_at, recent.control_at)),
        control_units=recent.control_units,
        fatal=fatal,
        killed=health.killed,
        triggered=health.trigger is not None,
        unhealthy=not health.node_healthy,
        vetoed=running and bool(health.vetoes) and "env_veto" not in waived,
        crash_loop=health.crash_loop,
        waived_patience="inconclusive" in waived,
    )


def _logs(proof: Proof, waived: frozenset[str]) -> dict[str, float]:
    compared = [found for found in proof.metrics if found.metric.role is Role.GUARDRAIL]
    heard = _signals(proof, waived)
    scores = [found for found in compared if found.metric.kind is Kind.SCORE]
    safe = (found.log_e_minus for found in compared)
    capped = (found.log_under for found in proof.metrics)
    return {
        "log_harm": proof.log_harm,
        "log_srm": 0.0 if "srm" in waived else proof.log_srm,
        "log_signal": max((found.log_e or 0.0 for found in heard), default=-math.inf),
        "log_safe": min((value for value in safe if value is not None), default=math.inf),
        "log_capped": min((value for value in capped if value is not None), default=math.inf),
        "log_doubt": max((found.log_e or 0.0 for found in scores), default=-math.inf),
    }


def _signals(proof: Proof, waived: frozenset[str]) -> list[MetricEvidence]:
    signals = (found for found in proof.metrics if found.metric.role is Role.SIGNAL)
    return [found for found in signals if f"signal:{found.metric.name}" not in waived]
