"""Traffic and base rates of the last seven days, as far as they were measured.

Base rates come from the control of rollouts that ran in these days, which counts what a rollout
will count; quality and unsupported answers also from stored answers. Failed requests are not
stored, so without a rollout nobody has measured them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.core.flags.arms_outcome import FEEDBACK, QUALITY
from apps.core.flags.policy import DAY_S, HOUR_S
from apps.core.flags.rollout import CONTROL
from apps.core.storage import answers, past_traffic
from apps.core.storage.connections import Session
from apps.core.storage.rollout_counts import Tally

WINDOW_S = 7 * DAY_S
ENOUGH = 100
SAMPLE = 500
UNSUPPORTED = "unsupported"
EVENTS = ("error", "slow", "fallback", "cost", UNSUPPORTED)


@dataclass(frozen=True, slots=True)
class Measured:
    """A share or a mean, of how many, and the standard deviation of a score."""

    value: float
    of: int
    deviation: float | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What was measured; without answers nothing was.

    Fields:
        answers: that were made and did not come from the cache, estimated from a sample.
        over_s: time since the first of them, from an hour to seven days.
        rates: metric to its share or mean, for those of which there is enough.
    """

    answers: int = 0
    over_s: float = WINDOW_S
    rates: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def per_s(self) -> float | None:
        """Answers a second; None when there were none."""
        return self.answers / self.over_s if self.answers else None


async def read(s: Session, *, now: float) -> Past:
    """Look at the last seven days."""
    since = now - WINDOW_S
    made = await past_traffic.made(s, since=since)
    counted = await past_traffic.control(s, since=since, arm=CONTROL)
    bodies = await answers.bodies(s, since=since, limit=SAMPLE)
    fresh = [body for body in bodies if body.get("served_by") != "cache"]
    count = round(made.answers * len(fresh) / len(bodies)) if bodies else 0
    rates = {**stored(fresh), **shares(counted)}
    if made.answers >= ENOUGH:
        rates[FEEDBACK] = share(made.complaints, made.answers)
    over_s = WINDOW_S if made.first_at is None else max(HOUR_S, now - made.first_at)
    return Past(count, over_s, rates)


def shares(counted: Mapping[str, Tally]) -> dict[str, Measured]:
    """What the control says of the metrics that it has counted often enough."""
    found = {
        name: share(tally.total, tally.n)
        for name, tally in counted.items()
        if name in EVENTS and tally.n >= ENOUGH
    }
    scores = counted.get(QUALITY, Tally())
    if scores.n >= ENOUGH:
        found[QUALITY] = score(scores.n, scores.total, scores.total_sq)
    return found


def stored(bodies: Sequence[Mapping[str, Any]]) -> dict[str, Measured]:
    """What stored answers say of quality; lists and small talk have none."""
    judged = [b for b in bodies if b.get("mode") != "search" and b.get("reason") != "smalltalk"]
    values = [float(body["confidence"]) for body in judged if "confidence" in body]
    if len(values) < ENOUGH:
        return {}
    lacking = sum(
        body.get("reason") == "no_evidence" or not (body.get("citations") or body.get("abstained"))
        for body in judged
    )
    return {
        QUALITY: score(len(values), sum(values), sum(value * value for value in values)),
        UNSUPPORTED: share(lacking, len(judged)),
    }


def share(bad: float, of: int) -> Measured:
    """The share by Jeffreys' prior: no bad one of a hundred is not the same as never."""
    return Measured((bad + 0.5) / (of + 1.0), of)


def score(n: int, total: float, total_sq: float) -> Measured:
    """Mean and deviation of scores."""
    mean = total / n
    return Measured(mean, n, math.sqrt(max(0.0, total_sq / n - mean * mean)))
