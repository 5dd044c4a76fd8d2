"""The evidence of one look: computed from counters, written as JSON, and checked from that JSON.

An auditor needs no database: the JSON holds the counts and the results, and `verify_evidence`
computes the results from the counts again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from apps.core.flags import evidence as e
from apps.core.flags.counters import Counters, Health
from apps.core.flags.evidence import ScoreState
from apps.core.flags.metric import Form, Kind, Metric, Role
from apps.core.flags.policy import Policy

TOLERANCE = 1e-9
LARGEST_LOG = 700.0
"""Above it E is written as e^700, because JSON has no infinity; the logarithm stays exact."""
# A canary vote of a unit and the scores seen in its order: (stage index, canary?, score).
ScoreLog = Sequence[tuple[int, bool, float]]


@dataclass(frozen=True, slots=True)
class Counts:
    """What one metric contributes, one entry for each stage; index 1 is the canary, 0 the control.

    Attributes:
        w: canary shares.
        s1, s0: bad votes.
        n1, n0: exposures.
        bad1: bad exposures of the canary.
        points: wealth of a score metric over the epoch; empty for events.
    """

    w: tuple[float, ...]
    s1: tuple[int, ...]
    s0: tuple[int, ...]
    n1: tuple[int, ...]
    n0: tuple[int, ...]
    bad1: tuple[int, ...]
    points: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricEvidence:
    """What one metric says; logarithms are natural, None where it does not say it.

    Attributes:
        log_e: evidence that the canary is worse than the control.
        log_e_minus: evidence that it is not much worse, or of no matter.
        log_over, log_under: evidence that the canary is over, or under, `metric.limit`.
    """

    metric: Metric
    counts: Counts
    log_e: float | None
    log_e_minus: float | None
    log_over: float | None
    log_under: float | None

    def log_of(self, form: Form) -> float:
        """Log evidence of one member of the combination."""
        found = self.log_over if form is Form.CAP else self.log_e
        return 0.0 if found is None else found


@dataclass(frozen=True, slots=True)
class Proof:
    """All evidence of a look; `units` are (canary, control) units first seen in each stage."""

    metrics: tuple[MetricEvidence, ...]
    weights: tuple[tuple[str, Form, float], ...]
    shares: tuple[float, ...]
    units: tuple[tuple[int, int], ...]
    log_harm: float
    log_srm: float
    threshold: float

    def as_json(self) -> dict[str, object]:
        """Write counts, results and weights as JSON values; the REST shape of evidence too."""
        weights: dict[str, dict[str, float]] = {}
        for name, form, weight in self.weights:
            weights.setdefault(name, {})[form.value] = weight
        return {
            "metrics": [
                _metric_json(found, weights.get(found.metric.name, {}), self.threshold)
                for found in self.metrics
            ],
            "shares": list(self.shares),
            "units": [list(pair) for pair in self.units],
            "log_E": self.log_harm,
            "combined_E": plain(self.log_harm),
            "threshold": self.threshold,
            "srm_log_E": self.log_srm,
            "srm_E": plain(self.log_srm),
        }


def prove(policy: Policy, counters: Counters) -> Proof:
    """Compute the evidence of all metrics of a policy."""
    metrics = tuple(weigh(metric, counts_of(metric, counters)) for metric in policy.metrics)
    weights = tuple((m.metric.name, m.form, m.weight) for m in policy.members)
    shares = tuple(stage.share for stage in counters.stages)
    units = tuple((stage.canary_units, stage.control_units) for stage in counters.stages)
    return _combined(metrics, weights, shares, units, 1.0 / policy.alpha)


def _combined(
    metrics: tuple[MetricEvidence, ...],
    weights: tuple[tuple[str, Form, float], ...],
    shares: tuple[float, ...],
    units: tuple[tuple[int, int], ...],
    threshold: float,
) -> Proof:
    by_name = {found.metric.name: found for found in metrics}
    logs = [by_name[name].log_of(form) for name, form, _ in weights]
    harm = float(e.log_mixture(logs, [weight for _, _, weight in weights]))
    pairs = np.array(units, float).reshape(-1, 2)
    srm = float(e.log_srm(pairs[:, 0], pairs[:, 1], np.array(shares)).sum())
    return Proof(metrics, weights, shares, units, harm, srm, threshold)


def counts_of(metric: Metric, counters: Counters) -> Counts:
    """Take out what belongs to one metric."""
    arms = [stage.of(metric.name) for stage in counters.stages]
    state = counters.scores.get(metric.name, ScoreState.fresh())
    return Counts(
        w=tuple(stage.share for stage in counters.stages),
        s1=tuple(arm.canary.votes for arm in arms),
        s0=tuple(arm.control.votes for arm in arms),
        n1=tuple(arm.canary.n for arm in arms),
        n0=tuple(arm.control.n for arm in arms),
        bad1=tuple(arm.canary.bad for arm in arms),
        points=tuple(map(float, state.points)) if metric.kind is Kind.SCORE else (),
    )


def weigh(metric: Metric, counts: Counts) -> MetricEvidence:
    """Compute what one metric says from its counts."""
    over = under = None
    if metric.limit is not None:
        # Each choice is the careful one for units that fail again and again: a rollback counts
        # a unit once, a promotion counts every bad request.
        over = float(e.log_cap_rollback(sum(counts.s1), sum(counts.n1), metric.limit))
        under = float(e.log_cap_promotion(sum(counts.bad1), sum(counts.n1), metric.limit))
    if metric.role is Role.ABSOLUTE:
        return MetricEvidence(metric, counts, None, None, over, under)
    if metric.kind is Kind.SCORE:
        log_e = float(e.log_score(np.array(counts.points)))
        return MetricEvidence(metric, counts, log_e, None, over, under)
    votes = np.array(counts.s1), np.array(counts.s0), np.array(counts.w)
    worse = e.rollback_points(*votes, tolerated=metric.tolerated).sum(axis=0)
    fine = e.promotion_points(*votes, margin=metric.margin, tolerated=metric.tolerated).sum(axis=0)
    log_minus = float(e.log_promotion(fine))
    if metric.negligible is not None:
        rate = e.log_cap_promotion(sum(counts.bad1), sum(counts.n1), metric.negligible)
        log_minus = float(e.log_harmless(fine, rate))
    return MetricEvidence(metric, counts, float(e.log_rollback(worse)), log_minus, over, under)


def plain(log_e: float) -> float:
    """E itself, for people."""
    return math.exp(min(log_e, LARGEST_LOG))


def _metric_json(
    found: MetricEvidence, weights: Mapping[str, float], threshold: float
) -> dict[str, object]:
    counts = {name: list(values) for name, values in asdict(found.counts).items()}
    return {
        "metric": found.metric.name,
        "definition": asdict(found.metric),
        "role": found.metric.role.value,
        "weights": dict(weights),
        "w": counts["w"],
        **{name.upper(): counts[name] for name in ("s1", "s0")},
        **{name: counts[name] for name in ("n1", "n0", "bad1", "points")},
        "log_E": found.log_e,
        "E": None if found.log_e is None else plain(found.log_e),
        "log_E_minus": found.log_e_minus,
        "E_minus": None if found.log_e_minus is None else plain(found.log_e_minus),
        "log_E_over": found.log_over,
        "log_E_under": found.log_under,
        "threshold": threshold,
    }


def verify_evidence(
    written: Mapping[str, object], *, scores: Mapping[str, ScoreLog] | None = None
) -> bool:
    """Whether the results follow from the counts, each E within 1e-9 of its size.

    A decision of the controller also names the signs that it saw, and its rule must follow.

    Args:
        written: what `Proof.as_json` made, perhaps read back from an audit row.
        scores: the log of each score metric in the order of its ids; given, the wealth that was
            written is recomputed too.
    """
    try:
        claimed: dict[str, Any] = dict(written)
        again = _read(claimed).as_json()
        followed = "signs" not in claimed or _follows(claimed["row"], Health.of(claimed["signs"]))
        replayed = all(_replays(claimed, name, log) for name, log in (scores or {}).items())
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return False
    return replayed and followed and _same(claimed, again)


def _read(written: dict[str, Any]) -> Proof:
    metrics, weights = [], []
    for row in written["metrics"]:
        definition = row["definition"]
        role, kind = Role(definition["role"]), Kind(definition["kind"])
        metric = Metric(**{**definition, "role": role, "kind": kind})
        columns = {name: tuple(row[name]) for name in ("w", "n1", "n0", "bad1", "points")}
        counts = Counts(**columns, s1=tuple(row["S1"]), s0=tuple(row["S0"]))
        metrics.append(weigh(metric, counts))
        weights += [(metric.name, Form(form), float(v)) for form, v in row["weights"].items()]
    units = tuple((int(pair[0]), int(pair[1])) for pair in written["units"])
    shares = tuple(map(float, written["shares"]))
    return _combined(tuple(metrics), tuple(weights), shares, units, float(written["threshold"]))


def _follows(row: str, signs: Health) -> bool:
    """Whether the rule is the one that these signs lead to, or none of theirs."""
    urgent = {
        "killed": signs.killed,
        "triggered": signs.trigger is not None,
        "unhealthy": not signs.node_healthy,
    }
    first = next((name for name, holds in urgent.items() if holds), None)
    others = {"vetoed": bool(signs.vetoes), "crash_loop": signs.crash_loop}
    return row == first if first or row in urgent else others.get(row, True)


def _replays(written: dict[str, Any], name: str, log: ScoreLog) -> bool:
    row = {row["metric"]: row for row in written["metrics"]}[name]
    state = ScoreState.fresh()
    for index, share in enumerate(row["w"]):
        votes = [(canary, score) for stage, canary, score in log if stage == index]
        if votes:
            arms, values = zip(*votes, strict=True)
            state = state.next_stage().after(arms, values, share)
    return bool(np.allclose(state.points, row["points"], rtol=0, atol=TOLERANCE))


def _same(claimed: object, again: object) -> bool:
    if isinstance(claimed, Mapping) and isinstance(again, Mapping):
        # A writer may add keys of its own; those computed here must all be there.
        return all(key in claimed and _same(claimed[key], again[key]) for key in again)
    if isinstance(claimed, list | tuple) and isinstance(again, list | tuple):
        same_length = len(claimed) == len(again)
        return same_length and all(map(_same, claimed, again))
    if isinstance(claimed, float | int) and isinstance(again, float | int):
        return math.isclose(claimed, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return claimed == again
