"""What happens in a simulated rollout: the ladder, what the traffic does, and the weather."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from apps.core.errors import Unprocessable
from apps.core.flags.evidence import FloatArray
from apps.core.flags.metric import Form, Metric, Role
from apps.core.flags.policy import DAY_S, Policy

MOST_UNITS = 1_000_000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """An event metric: its bad share in the control, and how many times that in the canary."""

    metric: Metric
    rate: float
    risk: float = 1.0


@dataclass(frozen=True, slots=True)
class Quality:
    """A score metric, beta distributed; `drop` is taken from the canary's mean."""

    metric: Metric
    mean: float = 0.80
    deviation: float = 0.20
    drop: float = 0.0

    def __post_init__(self) -> None:
        for mean in (self.mean, self.mean - self.drop):
            if not (0 < mean < 1 and 0 < self.deviation**2 < mean * (1 - mean)):
                raise Unprocessable(f"No score has mean {mean:g} and deviation {self.deviation:g}.")

    def control_density(self, y: FloatArray) -> FloatArray:
        """Density of the control's scores, up to a factor."""
        return _beta_density(y, self.mean, self.deviation)

    def canary_density(self, y: FloatArray) -> FloatArray:
        """The same of the canary."""
        return _beta_density(y, self.mean - self.drop, self.deviation)


def _beta_density(y: FloatArray, mean: float, deviation: float) -> FloatArray:
    strength = mean * (1 - mean) / deviation**2 - 1
    a, b = mean * strength, (1 - mean) * strength
    return np.asarray(y ** (a - 1) * (1 - y) ** (b - 1))


@dataclass(frozen=True, slots=True)
class Weather:
    """What changes with time for both arms alike.

    Attributes:
        drift: rates swing by this share around their mean, once a day.
        outage_at_s: when a shared outage begins; None is never.
        outage_s, outage_factor: how long it lasts, and what it multiplies all rates by.
    """

    drift: float = 0.0
    outage_at_s: float | None = None
    outage_s: float = 600.0
    outage_factor: float = 15.0

    def factor(self, at_s: float) -> float:
        """Multiply the rates at this moment."""
        swing = 1.0 + self.drift * math.sin(2 * math.pi * at_s / DAY_S)
        begins = math.inf if self.outage_at_s is None else self.outage_at_s
        return swing * (self.outage_factor if begins <= at_s < begins + self.outage_s else 1.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One experiment.

    Attributes:
        policy: ladder and rules; its metrics are replaced by those of the traffic.
        behaviours, quality: what the traffic does; the first is what the breaker counts.
        requests: exposures after which a run ends.
        units: sticky units; None makes each request its own.
        look_requests: exposures between two looks.
        per_s: exposures a second.
    """

    policy: Policy
    behaviours: tuple[Behaviour, ...]
    quality: Quality | None = None
    weather: Weather = Weather()
    requests: int = 60_000
    units: int | None = None
    look_requests: int = 50
    per_s: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.per_s < math.inf:
            raise Unprocessable(f"Requests a second are a number above 0, not {self.per_s:g}.")
        if self.units is not None and not 1 <= self.units <= MOST_UNITS:
            raise Unprocessable(f"Sticky units are 1 to {MOST_UNITS:,}, not {self.units:,}.")
        metrics = [each.metric for each in self.behaviours]
        metrics += [self.quality.metric] if self.quality else []
        for metric in metrics:
            if metric.role is not Role.GUARDRAIL or Form.CAP in metric.forms or metric.fatal:
                raise Unprocessable(f"{metric.name}: only compared guardrails can be simulated.")
        # A frozen dataclass is completed here once, before anybody sees it.
        object.__setattr__(self, "policy", replace(self.policy, metrics=tuple(metrics)))

    @property
    def look_s(self) -> float:
        """Seconds between two looks."""
        return self.look_requests / self.per_s
