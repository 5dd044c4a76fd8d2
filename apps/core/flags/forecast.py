"""What a rollout may expect of the traffic of the last seven days."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from apps.core.flags.planning import Expected, StagePlan, plan
from apps.core.flags.policy import DAY_S, Policy
from apps.core.storage import answers
from apps.core.storage.connections import Session

WINDOW_S = 7 * DAY_S
# Nobody has measured the arms before they exist: the base rates of FLAGS.md's examples; `slow`
# and `cost` are above a 95th percentile by their definition.
RATES = {"error": 0.01, "slow": 0.05, "cost": 0.05}
NO_TRAFFIC = "There was no answer in the last 7 days, so nothing can be forecast."


@dataclass(frozen=True, slots=True)
class Forecast:
    """What each stage will need; without traffic only the warning.

    Fields:
        per_s: answers a second over the last seven days.
    """

    per_s: float
    stages: tuple[StagePlan, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Requests until a doubled risk is seen, and until a good release goes on."""
        return {
            "per_s": self.per_s,
            "stages": [
                {
                    "share": stage.share,
                    "detect_requests": {
                        name: _finite(delay.p50) for name, delay in stage.detect.items()
                    },
                    "leave_requests": _finite(stage.leave),
                    "leave_s": _finite(stage.leave / self.per_s),
                    "waits_for": stage.waits_for,
                    "over_cap": stage.over_cap,
                }
                for stage in self.stages
            ],
        }


async def per_s(s: Session, *, now: float) -> float:
    """Answers a second over the last seven days."""
    return await answers.count(s, since=now - WINDOW_S) / WINDOW_S


def forecast(policy: Policy, rate: float) -> Forecast:
    """Plan every stage at `rate` answers a second; some 0.1 s of computing, so use a thread."""
    if rate <= 0:
        return Forecast(0.0, (), (NO_TRAFFIC,))
    names = {metric.name for metric in policy.metrics}
    rates = {name: share for name, share in RATES.items() if name in names}
    stages = plan(policy, Expected(rates, rate))
    return Forecast(rate, stages, tuple(_warnings(policy, stages)))


def _warnings(policy: Policy, stages: Sequence[StagePlan]) -> list[str]:
    return [
        f"The stage at {percent:g} % would exceed its cap: it waits for {stage.waits_for}"
        f" and needs {_count(stage.leave)} requests; a person will be asked."
        for percent, stage in zip(policy.stages, stages, strict=True)
        if stage.over_cap
    ]


def _count(value: float) -> str:
    return f"{math.ceil(value):,}" if math.isfinite(value) else "endlessly many"


def _finite(value: float) -> int | None:
    return math.ceil(value) if math.isfinite(value) else None
