"""What counts as slow and as expensive in a stage: the 95th percentile of answers without the flag.

The limits are frozen once a stage, from stored answers of the last day that the flag did not
touch. When there are too few, the stage's own first control answers come to them; until then
`slow` and `cost` are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.flags.policy import DAY_S, Policy
from apps.core.storage import answers, rollout_moves
from apps.core.storage.engine import Storage
from apps.core.storage.rollouts import Rollout

SLOW, COST = "slow", "cost"
ENOUGH = 100
# Newest answers that are looked at; more would hold the event loop for too long.
SAMPLE = 500
PERCENTILE = 0.95
AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What one answer took."""

    duration_ms: float
    tokens: float


def spent_without(flag_key: str, body: Mapping[str, Any]) -> Spent | None:
    """What an answer took that the flag did not touch; None when it did, or nobody knows."""
    made = (body.get("decision") or {}).get("flags", {}).get(flag_key)
    timings, usage = body.get("timings_ms") or {}, body.get("usage") or {}
    if made is None or made.get("on") or "total" not in timings:
        return None
    tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
    return Spent(float(timings["total"]), float(tokens))


def limits(spent: Sequence[Spent]) -> dict[str, float] | None:
    """`slow` in milliseconds and `cost` in tokens; None when there are too few answers."""
    if len(spent) < ENOUGH:
        return None
    return {
        SLOW: percentile(each.duration_ms for each in spent),
        COST: percentile(each.tokens for each in spent),
    }


def percentile(values: Iterable[float]) -> float:
    """The 95th percentile by nearest rank, so that it is one of the values."""
    ordered = sorted(values)
    return ordered[math.ceil(PERCENTILE * len(ordered)) - 1]


class Thresholds:
    """Freezes the limits of each stage, asking for answers every few seconds at most."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._asked: dict[str, float] = {}

    async def freeze(self, row: Rollout, policy: Policy, *, now: float) -> Rollout | None:
        """Store the limits of the running stage; None when there was nothing to do."""
        wanted = {metric.name for metric in policy.metrics} & {SLOW, COST}
        if row.tau is not None or not wanted or now - self._asked.get(row.id, 0.0) < AGAIN_S:
            return None
        self._asked[row.id] = now
        async with self._storage.reading() as s:
            bodies = await answers.bodies(s, since=now - DAY_S, limit=SAMPLE)
        spent = (spent_without(row.flag_key, body) for body in bodies)
        found = limits([each for each in spent if each is not None])
        if found is None:
            return None
        tau = {name: limit for name, limit in found.items() if name in wanted}
        async with self._storage.session() as s:
            return await rollout_moves.freeze_tau(s, row, tau, now=now)
