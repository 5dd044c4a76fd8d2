"""What an experiment has found so far, as the JSON that people and programs read.

Pure computing over counters. Every number holds at all looks together: evidence is an e-process
in each direction, intervals are confidence sequences, and α is shared by all comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.core.flags import comparison
from apps.core.flags import evidence as e
from apps.core.flags.comparison import Interval, Verdict
from apps.core.flags.metric import Kind, Metric
from apps.core.flags.proof import plain
from apps.core.flags.rollout_rows import arms_of, attempt_of, policy_of
from apps.core.storage.rollout_counts import UNITS, Cell, Tally, Vote
from apps.core.storage.rollouts import Rollout

Json = dict[str, Any]
ALPHA = 0.05
MEANS = ("duration_ms", "tokens")
"""Told of each arm and not compared, because nothing bounds them; `slow` and `cost` are."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An experiment with its counters and, for scores, its votes in their order."""

    row: Rollout
    tallies: Mapping[Cell, Tally]
    votes: Sequence[Vote] = field(default_factory=tuple)

    def tally(self, metric: str, arm: str) -> Tally:
        """One counter, empty when nobody wrote it."""
        place = Cell(self.row.id, attempt_of(self.row), 0, metric, arm)
        return self.tallies.get(place, Tally())


def summary(row: Rollout) -> Json:
    """A line of a list; the first metric of the policy is the primary one."""
    primary, *guardrails = (metric.name for metric in policy_of(row).metrics)
    return {
        "id": row.id,
        "flag_key": row.flag_key,
        "state": "STOPPED" if row.state == "ROLLED_BACK" else row.state,
        "arms": dict(row.arms or {}),
        "percent": row.stages[0],
        "primary": primary,
        "guardrails": guardrails,
        "epoch": row.epoch,
        "bucket_by": list(row.bucket_by),
        "started_at": row.started_at,
        "created_at": row.created_at,
        "version": row.version,
    }


def result(counted: Counted) -> Json:
    """Arms, and each variant against the first."""
    row, policy = counted.row, policy_of(counted.row)
    arms = arms_of(row)
    pairs = [(arm, metric) for arm in arms[1:] for metric in policy.metrics]
    # Each direction of each comparison may be wrong with its part of α.
    alpha = ALPHA / len(pairs)
    compared = [
        _comparison(counted, arms[0], arm, metric=metric, alpha=alpha) for arm, metric in pairs
    ]
    primary = policy.metrics[0].name
    return {
        **summary(row),
        "attempt": attempt_of(row),
        "results": [_arm(counted, arm, policy.metrics) for arm in arms],
        "comparisons": [
            {**each, "role": "primary" if each["metric"] == primary else "guardrail"}
            for each in compared
        ],
        "conclusions": [_conclusion(compared, arm, primary) for arm in arms[1:]],
        "srm_E": max(plain(_log_srm(counted, arms[0], arm)) for arm in arms[1:]),
        "srm_threshold": policy.srm_threshold,
        "confidence": 1.0 - ALPHA,
    }


def _arm(counted: Counted, arm: str, metrics: Sequence[Metric]) -> Json:
    found: Json = {}
    for metric in metrics:
        tally = counted.tally(metric.name, arm)
        if metric.kind is Kind.SCORE:
            found[metric.name] = {"n": tally.n, "mean": _ratio(tally.total, tally.n)}
        else:
            found[metric.name] = {
                "n": tally.n,
                "bad": round(tally.total),
                "votes": tally.bad,
                "share": _ratio(tally.total, tally.n),
            }
    sums = {name: counted.tally(name, arm) for name in MEANS}
    weight, units = (counted.row.arms or {})[arm], counted.tally(UNITS, arm).n
    means = {name: _ratio(sums[name].total, sums[name].n) for name in MEANS}
    return {"arm": arm, "weight": weight, "units": units, "metrics": found, "means": means}


def _comparison(counted: Counted, first: str, arm: str, *, metric: Metric, alpha: float) -> Json:
    share = _share(counted.row, first, arm)
    name, scored = metric.name, metric.kind is Kind.SCORE
    if scored:
        votes = [v for v in counted.votes if v.metric == name and v.arm in {first, arm}]
        mine, scores = [v.arm == arm for v in votes], [v.score or 0.0 for v in votes]
        verdict = comparison.compare_scores(mine, scores, share, alpha=alpha)
    else:
        bad = [counted.tally(name, each).bad for each in (arm, first)]
        verdict = comparison.compare_votes(bad[0], bad[1], share, alpha=alpha)
    return {
        "arm": arm,
        "against": first,
        "metric": name,
        **_verdict(verdict, math.log(2.0 / alpha)),
        "difference" if scored else "relative_risk": _interval(verdict.interval),
    }


def _conclusion(compared: Sequence[Json], arm: str, primary: str) -> Json:
    own = [each for each in compared if each["arm"] == arm]
    harmed = [each["metric"] for each in own if each["verdict"] == "worse"]
    verdict = next(each["verdict"] for each in own if each["metric"] == primary)
    return {
        "arm": arm,
        "against": own[0]["against"],
        "verdict": verdict,
        "harmed": [name for name in harmed if name != primary],
    }


def _verdict(verdict: Verdict, log_threshold: float) -> Json:
    return {
        "E_worse": plain(verdict.log_worse),
        "E_better": plain(verdict.log_better),
        "threshold": plain(log_threshold),
        "verdict": verdict.word(log_threshold),
    }


def _interval(found: Interval) -> Json:
    """JSON has no infinity; None is without bound."""
    return {"low": found.low, "high": found.high if math.isfinite(found.high) else None}


def _log_srm(counted: Counted, first: str, arm: str) -> float:
    units = [counted.tally(UNITS, each).n for each in (arm, first)]
    return float(e.log_srm(units[0], units[1], _share(counted.row, first, arm)))


def _share(row: Rollout, first: str, arm: str) -> float:
    weights = row.arms or {}
    return weights[arm] / (weights[arm] + weights[first])


def _ratio(total: float, n: int) -> float | None:
    return total / n if n else None
