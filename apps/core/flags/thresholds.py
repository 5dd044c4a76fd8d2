"""What is slow or dear in a stage: above the 95th percentile of requests without the flag.

Each limit is frozen once a stage, for both arms alike: from what the control of this attempt took
so far, or while that is too little from stored answers of the last day that the flag did not touch.
Searches are not stored, so their limit waits for the control's first ones. The control of an
experiment is the variant that the others are compared with. Until a limit is frozen
nothing is compared with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.flags.policy import DAY_S, Policy
from apps.core.flags.rollout_rows import arms_of, attempt_of
from apps.core.flags.spent import COST, LIMITS, PERCENTILE, SLOW, limit
from apps.core.storage import answers, rollout_moves, rollout_spent
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.rollouts import Rollout

ENOUGH = 100
# Newest answers that are looked at; more would hold the event loop for too long.
SAMPLE = 500
AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What one answer took."""

    duration_ms: float
    tokens: float


def spent_without(flag_key: str, body: Mapping[str, Any]) -> Spent | None:
    """What an answer took that the flag did not touch; None when it did, or nobody knows.

    Answers from the cache and lists of passages are in no arm, or no answers: they would make the
    limit too strict.
    """
    made = (body.get("decision") or {}).get("flags", {}).get(flag_key)
    timings, usage = body.get("timings_ms") or {}, body.get("usage") or {}
    if made is None or made.get("on") or "total" not in timings:
        return None
    if body.get("served_by") == "cache" or body.get("mode") == "search":
        return None
    tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
    return Spent(float(timings["total"]), float(tokens))


def limits(spent: Sequence[Spent]) -> dict[str, float]:
    """`slow` in milliseconds and `cost` in tokens; nothing when there are too few answers."""
    if len(spent) < ENOUGH:
        return {}
    return {
        SLOW: percentile(each.duration_ms for each in spent),
        COST: percentile(each.tokens for each in spent),
    }


def percentile(values: Iterable[float]) -> float:
    """The 95th percentile by nearest rank, so that it is one of the values."""
    ordered = sorted(values)
    return ordered[math.ceil(PERCENTILE * len(ordered)) - 1]


class Thresholds:
    """Freezes the limits of each stage, asking for them every few seconds at most."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._asked: dict[str, float] = {}

    async def freeze(self, row: Rollout, policy: Policy, *, now: float) -> Rollout | None:
        """Store limits of the running stage; None when there was nothing to do."""
        known = dict(row.tau or {})
        needed = {name for metric in policy.metrics for name in LIMITS.get(metric.name, ())}
        missing = needed - known.keys()
        if not missing or now - self._asked.get(row.id, -math.inf) < AGAIN_S:
            return None
        self._asked[row.id] = now
        async with self._storage.reading() as s:
            found = await _found(s, row, missing, now=now)
        if not found:
            return None
        async with self._storage.session() as s:
            return await rollout_moves.freeze_tau(s, row, {**known, **found}, now=now)


async def _found(
    s: Session, row: Rollout, missing: Collection[str], *, now: float
) -> dict[str, float]:
    taken = await rollout_spent.classes(s, row.id, attempt_of(row), arm=arms_of(row)[0])
    own = {name: limit(taken.get(name, {}), enough=ENOUGH) for name in missing}
    found = {name: value for name, value in own.items() if value is not None}
    if not (missing - found.keys()) & {SLOW, COST}:
        return found
    bodies = await answers.bodies(s, since=now - DAY_S, limit=SAMPLE)
    spent = (spent_without(row.flag_key, body) for body in bodies)
    stored = limits([each for each in spent if each is not None])
    return {**{name: value for name, value in stored.items() if name in missing}, **found}
