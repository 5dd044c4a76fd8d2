"""Experiments: variants of a flag side by side, begun and ended by people only.

Units are assigned by the same buckets as in a rollout, and counted in the same tables under the
names of their variants. The controller touches an experiment only when its flag is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.core.domain.ports import Clock
from apps.core.errors import NotFound, Unprocessable, VersionConflict
from apps.core.flags.definition import SALT
from apps.core.flags.experiment_results import ALPHA, Counted, Json, result, summary
from apps.core.flags.metric import Kind, Metric, default_metrics
from apps.core.flags.policy import Policy
from apps.core.flags.presets import policy_json
from apps.core.flags.rollout_rows import attempt_of, policy_of
from apps.core.flags.rollouts import STALE, refuse_if_off, variants_of
from apps.core.storage import flags, rollout_counts, rollout_moves, rollouts
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause
from apps.core.storage.rollout_counts import Vote
from apps.core.storage.rollouts import BUCKET_BY, Rollout, RolloutWish

PAGE_ROWS = 10_000
PRIMARY = "quality"
GUARDRAILS = ("error", "slow", "fallback", "cost", "unsupported")
KINDS: Mapping[str, Kind] = {metric.name: metric.kind for metric in default_metrics()}
"""What is measured of an answer, by name."""
UNITS = (*BUCKET_BY, "api_key_id")
MAX_WEIGHT = 1_000_000


@dataclass(frozen=True, slots=True)
class WantedExperiment:
    """Variants with their weights; the others are compared with `off`, else with the first by name.

    Fields:
        percent: of the units that take part; the others keep what they had.
        primary: the metric that decides; one of `KINDS`.
        guardrails: metrics that must not get worse; the fewer, the sooner each decides.
    """

    flag_key: str
    arms: Mapping[str, int]
    percent: float = 100.0
    bucket_by: tuple[str, ...] = BUCKET_BY
    primary: str = PRIMARY
    guardrails: Sequence[str] = GUARDRAILS


class ExperimentAdmin:
    """Experiments for people."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def create(self, wanted: WantedExperiment, *, cause: Cause) -> Json:
        """Store a draft; it changes nothing until it is started.

        Raises:
            NotFound: there is no such flag.
            Unprocessable: fewer than two arms, a bad weight, a variant that does not exist, or
                a metric that nobody measures.
        """
        _check_arms(wanted)
        policy = Policy(stages=(100.0,), metrics=_metrics(wanted), auto_promote=False)
        async with self._storage.session() as s:
            stored = await flags.find(s, wanted.flag_key)
            if unknown := wanted.arms.keys() - variants_of(wanted.flag_key, stored).keys():
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


async def _count(s: Session, row: Rollout) -> Counted:
    names = [m.name for m in policy_of(row).metrics if m.kind is Kind.SCORE]
    key, votes, last = (row.id, attempt_of(row)), list[Vote](), 0
    while page := await rollout_counts.votes(
        s, *key, metrics=names, after_id=last, limit=PAGE_ROWS
    ):
        votes += [vote for _, vote in page]
        last = page[-1][0]
    return Counted(row, await rollout_counts.tallies(s, *key), votes)


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
    if not wanted.bucket_by or set(wanted.bucket_by) - set(UNITS):
        raise Unprocessable(f"A variant is kept by one of {', '.join(UNITS)}.")


def _metrics(wanted: WantedExperiment) -> tuple[Metric, ...]:
    """The primary one first; all are compared alike, whatever they may do to a rollout."""
    names = [wanted.primary, *(name for name in wanted.guardrails if name != wanted.primary)]
    if unknown := [name for name in names if name not in KINDS]:
        known = ", ".join(KINDS)
        raise Unprocessable(f"Nobody measures {unknown[0]!r}; there are {known}.")
    return tuple(Metric(name, kind=KINDS[name]) for name in dict.fromkeys(names))
