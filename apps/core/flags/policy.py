"""What a person decides before a rollout starts: its stages, its metrics, and its patience."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from apps.core.errors import Unprocessable
from apps.core.flags.metric import Member, Metric, default_metrics

MINUTE_S = 60.0
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Policy:
    """A ladder and the rules for climbing it; percentages are of units, times in seconds.

    Attributes:
        stages: rising percentages; the last is 100.
        holdback_pct: units that stay in the control at the last stage.
        alpha: chance of ever rolling a harmless canary back.
        alpha_promote: chance of ever taking a harmful one for harmless.
        min_units: canary units that a stage must have seen.
        dwell_s, soak_s: shortest stay in a stage, and in the last one.
        max_stage_s, max_stage_requests: after these, and the shortest stay, a person is asked.
        silence_s: without an exposure in one arm for so long, nobody knows anything.
        min_control_units: fewest control units in `silence_s`.
        breaker_requests, breaker_share, breaker_window_s: so many canary requests, so large a
            bad share among them and among their units, in so short a time, roll back without
            statistics.
        breaker_units: bad units that this takes; one or two busy customers whose requests always
            fail are no breakdown.
        cooldown_s: rest after a rollback before a person may start again without `force`.
        auto_promote: whether the controller may take the next step by itself.
    """

    stages: tuple[float, ...] = (5, 25, 50, 100)
    metrics: tuple[Metric, ...] = default_metrics()
    holdback_pct: float = 5.0
    alpha: float = 0.01
    alpha_promote: float = 0.05
    signal_threshold: float = 20.0
    srm_threshold: float = 1000.0
    min_units: int = 400
    dwell_s: float = 10 * MINUTE_S
    soak_s: float = DAY_S
    max_stage_s: float = 7 * DAY_S
    max_stage_requests: int = 400_000
    silence_s: float = 10 * MINUTE_S
    min_control_units: int = 50
    breaker_requests: int = 20
    breaker_share: float = 0.5
    breaker_window_s: float = MINUTE_S
    breaker_units: int = 3
    cooldown_s: float = HOUR_S
    auto_promote: bool = True

    def __post_init__(self) -> None:
        for wrong, sentence in itertools.chain(_ladder_faults(self), _number_faults(self)):
            if wrong:
                raise Unprocessable(sentence)

    @property
    def last_stage(self) -> int:
        """Index of the stage at 100 %."""
        return len(self.stages) - 1

    def share(self, stage: int) -> float:
        """Canary share w of a stage, in (0, 1): the holdback is never canary."""
        return min(self.stages[stage], 100.0 - self.holdback_pct) / 100.0

    @property
    def members(self) -> tuple[Member, ...]:
        """The terms of the combined evidence; their weights add up to 1."""
        total = sum(metric.weight for metric in self.metrics if metric.forms)
        return tuple(
            Member(metric, form, metric.weight / total / len(metric.forms))
            for metric in self.metrics
            for form in metric.forms
        )

    def metric(self, name: str) -> Metric:
        """Find a metric by its name.

        Raises:
            Unprocessable: the policy does not watch it.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise Unprocessable(f"The policy watches no metric {name!r}.")


def _ladder_faults(policy: Policy) -> Iterator[tuple[bool, str]]:
    stages = policy.stages
    rising = all(low < high for low, high in itertools.pairwise(stages))
    names = [metric.name for metric in policy.metrics]
    yield not stages or not rising, f"stages must rise, not {list(stages)!r}."
    yield stages[0] <= 0 or stages[-1] != 100, "stages must start above 0 and end at 100."
    yield not 1 <= policy.holdback_pct <= 5, "holdback_pct must be from 1 to 5."
    below = all(stage <= 100 - policy.holdback_pct for stage in stages[:-1])
    yield not below, "Only the last stage may reach into the holdback."
    yield len(set(names)) != len(names), f"A metric is named twice: {names!r}."
    yield not policy.members, "At least one metric must be able to roll back."


def _number_faults(policy: Policy) -> Iterator[tuple[bool, str]]:
    for name in ("alpha", "alpha_promote", "breaker_share"):
        yield not 0 < getattr(policy, name) < 1, f"{name} must be between 0 and 1."
    for name in ("signal_threshold", "srm_threshold"):
        yield not getattr(policy, name) > 1, f"{name} must be above 1."
    for name in ("dwell_s", "soak_s", "cooldown_s", "min_units", "min_control_units"):
        yield not getattr(policy, name) >= 0, f"{name} must not be negative."
    for name in (
        "silence_s",
        "breaker_window_s",
        "breaker_requests",
        "breaker_units",
        "max_stage_requests",
    ):
        yield not getattr(policy, name) > 0, f"{name} must be above 0."
    longest = max(policy.dwell_s, policy.soak_s)
    yield not policy.max_stage_s >= longest, "max_stage_s must not end before dwell_s or soak_s."
