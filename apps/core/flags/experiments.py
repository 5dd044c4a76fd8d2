"""Experiments: variants of a flag side by side, begun and ended by people only.

Units are assigned by the same buckets as in a rollout, and counted in the same tables under the
names of their variants. The controller touches an experiment only when its flag is killed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.core.domain.ports import Clock
from apps.core.errors import NotFound, Unprocessable, VersionConflict
from apps.core.flags import comparison
from apps.core.flags import evidence as e
from apps.core.flags.comparison import Interval, Verdict
from apps.core.flags.definition import SALT
from apps.core.flags.metric import Kind, Metric
from apps.core.flags.presets import policy_from, policy_json
from apps.core.flags.proof import plain
from apps.core.flags.rollout_rows import attempt_of, policy_of
from apps.core.flags.rollouts import STALE, refuse_if_off, storable
from apps.core.storage import flags, rollout_counts, rollout_moves, rollouts
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause
from apps.core.storage.rollout_counts import UNITS, Cell, Tally, Vote
from apps.core.storage.rollouts import BUCKET_BY, Rollout, RolloutWish

Json = dict[str, Any]
PAGE_ROWS = 10_000
ALPHA = 0.05
SWITCH = ("on", "off")
MAX_WEIGHT = 1_000_000


@dataclass(frozen=True, slots=True)
class WantedExperiment:
    """Variants with their weights; the others are compared with `off`, else with the first by name.

    Fields:
        percent: of the units that take part; the others keep what they had.
        metrics: as in the policy of a rollout; None for those of every answer.
    """

    flag_key: str
    arms: Mapping[str, int]
    percent: float = 100.0
    bucket_by: tuple[str, ...] = BUCKET_BY
    metrics: Sequence[Mapping[str, object]] | None = None


@dataclass(frozen=True, slots=True)
class _Counted:
    row: Rollout
    tallies: Mapping[Cell, Tally]
    votes: Sequence[Vote] = field(default_factory=tuple)

    def tally(self, metric: str, arm: str) -> Tally:
        place = Cell(self.row.id, attempt_of(self.row), 0, metric, arm)
        return self.tallies.get(place, Tally())


class ExperimentAdmin:
    """Experiments for people."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def create(self, wanted: WantedExperiment, *, cause: Cause) -> Json:
        """Store a draft; it changes nothing until it is started.

        Raises:
            Unprocessable: fewer than two arms, a bad weight, or a variant that does not exist.
        """
        _check_arms(wanted)
        asked: dict[str, object] = {"stages": (100.0,), "auto_promote": False}
        if wanted.metrics is not None:
            asked["metrics"] = list(wanted.metrics)
        policy = storable(policy_from(asked))
        async with self._storage.session() as s:
            stored = await flags.find(s, wanted.flag_key)
            definition = (stored.wish.definition if stored else None) or {}
            known = set(definition.get("variants", SWITCH))
            if unknown := set(wanted.arms) - known:
                raise Unprocessable(f"The flag has no variant {sorted(unknown)[0]!r}.")
            wish = RolloutWish(
                wanted.flag_key,
                (wanted.percent,),
                stored.wish.salt if stored else SALT,
                kind="experiment",
                arms=dict(wanted.arms),
                bucket_by=wanted.bucket_by,
                policy=policy_json(policy),
            )
            row = await rollouts.create(s, wish, cause=cause)
        return summary(row)

    async def every(self) -> list[Json]:
        """The newest experiments."""
        async with self._storage.reading() as s:
            rows = await rollouts.listed(s)
        return [summary(row) for row in rows if row.kind == "experiment"]

    async def start(self, experiment_id: str, *, cause: Cause) -> Json:
        """Begin an attempt with empty counters.

        Raises:
            BusinessFailure: its state, its flag or the environment of a host forbids it.
        """
        async with self._storage.session() as s:
            row = await _found(s, experiment_id)
            await refuse_if_off(s, row.flag_key)
            return _moved(await rollout_moves.start(s, row, cause=cause, alpha=ALPHA))

    async def stop(self, experiment_id: str, *, cause: Cause) -> Json:
        """End it: everybody has what they had before; its result stays."""
        async with self._storage.session() as s:
            row = await _found(s, experiment_id)
            return _moved(await rollout_moves.roll_back(s, row, cause=cause))

    async def get(self, experiment_id: str) -> Json:
        """The result so far, which may be looked at at any time."""
        async with self._storage.reading() as s:
            row = await _found(s, experiment_id)
            counted = await _count(s, row)
        return await asyncio.to_thread(result, counted)


def summary(row: Rollout) -> Json:
    """A line of a list."""
    return {
        "id": row.id,
        "flag_key": row.flag_key,
        "state": "STOPPED" if row.state == "ROLLED_BACK" else row.state,
        "arms": dict(row.arms or {}),
        "percent": row.stages[0],
        "epoch": row.epoch,
        "bucket_by": list(row.bucket_by),
        "started_at": row.started_at,
        "created_at": row.created_at,
        "version": row.version,
    }


def result(counted: _Counted) -> Json:
    """Arms, and each variant against the first; pure computing."""
    row, policy = counted.row, policy_of(counted.row)
    arms = _order(row)
    pairs = [(arm, metric) for arm in arms[1:] for metric in policy.metrics]
    # Each direction of each comparison may be wrong with its part of α.
    alpha = ALPHA / len(pairs)
    return {
        **summary(row),
        "attempt": attempt_of(row),
        "results": [_arm(counted, arm, policy.metrics) for arm in arms],
        "comparisons": [
            _comparison(counted, arms[0], arm, metric=metric, alpha=alpha) for arm, metric in pairs
        ],
        "srm_E": max(plain(_log_srm(counted, arms[0], arm)) for arm in arms[1:]),
        "srm_threshold": policy.srm_threshold,
        "confidence": 1.0 - ALPHA,
    }


def _order(row: Rollout) -> list[str]:
    """The first one is `off` or, without it, the first by name: JSON objects have no order."""
    return sorted(row.arms or {}, key=lambda name: (name != "off", name))


def _arm(counted: _Counted, arm: str, metrics: Sequence[Metric]) -> Json:
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
    weight, units = (counted.row.arms or {})[arm], counted.tally(UNITS, arm).n
    return {"arm": arm, "weight": weight, "units": units, "metrics": found}


def _comparison(counted: _Counted, first: str, arm: str, *, metric: Metric, alpha: float) -> Json:
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


def _log_srm(counted: _Counted, first: str, arm: str) -> float:
    units = [counted.tally(UNITS, each).n for each in (arm, first)]
    return float(e.log_srm(units[0], units[1], _share(counted.row, first, arm)))


def _share(row: Rollout, first: str, arm: str) -> float:
    weights = row.arms or {}
    return weights[arm] / (weights[arm] + weights[first])


def _ratio(total: float, n: int) -> float | None:
    return total / n if n else None


async def _count(s: Session, row: Rollout) -> _Counted:
    names = [m.name for m in policy_of(row).metrics if m.kind is Kind.SCORE]
    key, votes, last = (row.id, attempt_of(row)), list[Vote](), 0
    while page := await rollout_counts.votes(
        s, *key, metrics=names, after_id=last, limit=PAGE_ROWS
    ):
        votes += [vote for _, vote in page]
        last = page[-1][0]
    return _Counted(row, await rollout_counts.tallies(s, *key), votes)


async def _found(s: Session, experiment_id: str) -> Rollout:
    row = await rollouts.find(s, experiment_id)
    if row is None or row.kind != "experiment":
        raise NotFound(f"There is no experiment {experiment_id!r}.")
    return row


def _moved(row: Rollout | None) -> Json:
    if row is None:
        raise VersionConflict(STALE)
    return summary(row)


def _check_arms(wanted: WantedExperiment) -> None:
    weights = wanted.arms.values()
    if len(wanted.arms) < 2 or not all(1 <= weight <= MAX_WEIGHT for weight in weights):
        raise Unprocessable(f"An experiment needs two arms or more, of weights 1 to {MAX_WEIGHT}.")
    if not 0 < wanted.percent <= 100:
        raise Unprocessable("percent is above 0 and at most 100.")
