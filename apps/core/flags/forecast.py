"""What a rollout may expect: of measured traffic where there is any, and said where not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apps.core.errors import Unprocessable
from apps.core.flags.metric import Kind, Role
from apps.core.flags.past import ENOUGH, Past
from apps.core.flags.planning import Expected, StagePlan, plan
from apps.core.flags.policy import Policy
from apps.core.flags.scenario import Quality
from apps.core.flags.spans import rate_words, span_words

# While nobody has measured them: the examples of the specification. `slow` and `cost` are above
# a 95th percentile by their definition.
ASSUMED: Mapping[str, float] = {
    "error": 0.01, "slow": 0.05, "fallback": 0.02, "cost": 0.05, "unsupported": 0.03,
}  # fmt: skip
ASSUMED_QUALITY = 0.80
ASSUMED_DEVIATION = 0.20
LEAST_DEVIATION = 0.02
NO_TRAFFIC = "No traffic measured yet: no answer in the last 7 days, so no times can be told."


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody says instead of what was measured, and the harm that must be seen.

    Fields:
        rates: metric to its bad share in the control; `quality` to its mean.
        per_s: requests a second.
        risk: relative risk of events; drop: loss of the score.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    per_s: float | None = None
    risk: float = 2.0
    drop: float = 0.05


@dataclass(frozen=True, slots=True)
class Base:
    """A base rate and where it is from: `given`, `measured` (of so many), or `assumed`."""

    value: float
    source: str
    of: int | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What each stage will need.

    Fields:
        per_s: requests a second; None when nobody knows.
        past: what was measured; rates: what the forecast goes by.
        stays_s: shortest stay in each stage, whatever the traffic.
    """

    per_s: float | None
    past: Past
    rates: Mapping[str, Base]
    stages: tuple[StagePlan, ...]
    stays_s: tuple[float, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Requests until harm is seen and until a good release goes on; times if known."""
        return {
            "per_s": self.per_s,
            "measured": {"answers": self.past.answers, "over_s": self.past.over_s}
            if self.past.answers
            else None,
            "rates": {
                name: {"value": base.value, "source": base.source, "of": base.of}
                for name, base in self.rates.items()
            },
            "stages": [
                {**self._stage(stage), "stay_s": stay_s}
                for stage, stay_s in zip(self.stages, self.stays_s, strict=True)
            ],
        }

    def _stage(self, stage: StagePlan) -> dict[str, object]:
        return {
            "share": stage.share,
            "detect_requests": {name: whole(delay.p50) for name, delay in stage.detect.items()},
            "leave_requests": whole(stage.leave),
            "leave_s": self.seconds(stage.leave),
            "waits_for": stage.waits_for,
            "over_cap": stage.over_cap,
        }

    def seconds(self, requests: float) -> int | None:
        """How long so many requests take; None when they never come, or nobody knows."""
        return whole(requests / self.per_s) if self.per_s else None


def forecast(policy: Policy, past: Past, wish: Wish | None = None) -> Forecast:
    """Plan every stage; some 0.1 s of computing, so use a thread."""
    said = wish or Wish()
    per_s = said.per_s or past.per_s
    rates = {
        metric.name: base
        for metric in policy.metrics
        if metric.kind is Kind.EVENT and metric.role is Role.GUARDRAIL
        if (base := _base(metric.name, past, said)) is not None
    }
    expected = {name: base.value for name, base in rates.items()}
    score = _quality(policy, past, said)
    stages = plan(policy, Expected(expected, per_s, score, said.risk))
    if score is not None:
        measured = "quality" not in said.rates and score.mean == _mean(past)
        of = past.rates["quality"].of if measured else None
        source = "measured" if measured else "given" if "quality" in said.rates else "assumed"
        rates["quality"] = Base(score.mean, source, of)
    stays_s = (policy.dwell_s,) * policy.last_stage + (policy.soak_s,)
    return Forecast(
        per_s, past, rates, stages, stays_s, _warnings(policy, past, said, rates, stages)
    )


def _base(name: str, past: Past, said: Wish) -> Base | None:
    if name in said.rates:
        return Base(said.rates[name], "given")
    if name in past.rates:
        return Base(past.rates[name].value, "measured", past.rates[name].of)
    return Base(ASSUMED[name], "assumed") if name in ASSUMED else None


def _mean(past: Past) -> float | None:
    return past.rates["quality"].value if "quality" in past.rates else None


def _quality(policy: Policy, past: Past, said: Wish) -> Quality | None:
    """The score as it was said or measured; one that no bell fits is not forecast."""
    metric = next((each for each in policy.metrics if each.kind is Kind.SCORE), None)
    if metric is None:
        return None
    if "quality" in said.rates:
        return Quality(metric, said.rates["quality"], ASSUMED_DEVIATION, said.drop)
    found = past.rates.get("quality")
    if found is None:
        return Quality(metric, ASSUMED_QUALITY, ASSUMED_DEVIATION, said.drop)
    try:
        deviation = max(found.deviation or 0.0, LEAST_DEVIATION)
        return Quality(metric, found.value, deviation, said.drop)
    except Unprocessable:
        return None


def _warnings(
    policy: Policy,
    past: Past,
    said: Wish,
    rates: Mapping[str, Base],
    stages: Sequence[StagePlan],
) -> tuple[str, ...]:
    per_s = said.per_s or past.per_s
    found = [
        f"The stage at {percent:g} % would exceed its cap: it waits for {stage.waits_for}"
        f" and needs {_count(stage.leave)} requests; a person will be asked."
        for percent, stage in zip(policy.stages, stages, strict=True)
        if stage.over_cap
    ]
    if per_s is None:
        found.append(NO_TRAFFIC)
    else:
        found += _quiet(policy, per_s)
    if said.per_s is None and 0 < past.answers < ENOUGH:
        found.append(f"Only {past.answers} answers were measured: times are rough.")
    assumed = [f"{name} {base.value:.3g}" for name, base in rates.items() if _guessed(base)]
    if assumed:
        found.append(f"Assumed, not measured: {', '.join(assumed)}.")
    return tuple(found)


def _guessed(base: Base) -> bool:
    return base.source == "assumed"


def _quiet(policy: Policy, per_s: float) -> list[str]:
    """Stages in which the control will be too silent to compare with."""
    for stage, percent in enumerate(policy.stages):
        seen = (1 - policy.share(stage)) * per_s * policy.silence_s
        # A count of requests that come by chance stays four deviations above its least.
        if seen - 4 * math.sqrt(seen) < policy.min_control_units:
            return [
                f"From the stage at {percent:g} % on, the control sees about {seen:.0f} requests in"
                f" {span_words(policy.silence_s)} at {rate_words(per_s)}; fewer than"
                f" {policy.min_control_units} hold the rollout (no_data). Raise `silence_s` or"
                " lower `min_control_units` in the policy."
            ]
    return []


def _count(value: float) -> str:
    return f"{math.ceil(value):,}" if math.isfinite(value) else "endlessly many"


def whole(value: float) -> int | None:
    """Rounded up; None for what never ends."""
    return math.ceil(value) if math.isfinite(value) else None
