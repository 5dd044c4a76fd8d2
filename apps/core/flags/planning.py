"""Before a rollout: how much traffic until harm would be seen, and until a stage is left.

The evidence is followed along its mean path, the one that the expected counts give. A random path
crosses the threshold about as a Brownian motion with that drift would, whose delay is inverse
Gaussian. `python -m bench.rollout` prints how far this is from simulated rollouts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from apps.core.flags import evidence as e
from apps.core.flags.evidence import FloatArray
from apps.core.flags.metric import Form, Kind, Metric, Role
from apps.core.flags.policy import Policy
from apps.core.flags.scenario import Quality

NEVER = math.inf
MOST_REQUESTS = 1e12
GRID = 2_000


@dataclass(frozen=True, slots=True)
class Expected:
    """The traffic that a rollout will meet.

    Attributes:
        rates: metric name → bad share in the control; a metric without one is left out.
        per_s: exposures a second; None when nobody knows, so that only requests count.
        quality: distribution of the score and the drop that should be seen.
        risk: relative risk of the events that should be seen.
    """

    rates: Mapping[str, float]
    per_s: float | None
    quality: Quality | None = None
    risk: float = 2.0


@dataclass(frozen=True, slots=True)
class Delay:
    """Requests of both arms until something is seen: in half, and in nine tenths of the cases."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What to expect of one stage; requests are of both arms, `inf` means never.

    Attributes:
        share: canary share w.
        alone: metric name → delay until its harm is seen, were the rollout always here and no
            other metric watched.
        detect: the same while all guardrails of the policy share the chance of a false rollback.
        leave: requests that a good release needs here until it may go on.
        waits_for: `units`, `dwell`, or the metric that takes longest.
        over_cap: whether a person would be asked before.
    """

    share: float
    alone: Mapping[str, Delay]
    detect: Mapping[str, Delay]
    leave: float
    waits_for: str
    over_cap: bool


def plan(policy: Policy, expected: Expected) -> tuple[StagePlan, ...]:
    """Forecast each stage of a ladder for harm, and for a release as good as the control."""
    carried = {name: np.zeros(len(e.HARMLESS)) for name in expected.rates}
    spent, plans, seen = 0.0, [], _weights(policy, expected)
    for stage in range(len(policy.stages)):
        share = policy.share(stage)
        needs = _needs(policy, expected, carried, stage=stage, spent=spent)
        waits_for = max(needs, key=lambda name: needs[name])
        leave = needs[waits_for]
        alone = {name: _delay(policy, expected, name, share, weight=1.0) for name in seen}
        detect = {
            name: _delay(policy, expected, name, share, weight=weight)
            for name, weight in seen.items()
        }
        longest = math.inf if expected.per_s is None else policy.max_stage_s * expected.per_s
        cap = min(policy.max_stage_requests, longest)
        over_cap = leave > max(cap, needs["dwell"])
        plans.append(StagePlan(share, alone, detect, leave, waits_for, over_cap))
        if math.isfinite(leave):
            spent += leave * share
            for name, rate in expected.rates.items():
                carried[name] = carried[name] + _fine(policy.metric(name), rate * leave, share)
    return tuple(plans)


def votes_to_detect(risk: float, share: float, *, alpha: float, tolerated: float = 1.0) -> Delay:
    """Bad votes of both arms until the mixture sees a relative risk."""
    q = float(e.canary_share_of_votes(share, risk))

    def points(votes: float) -> FloatArray:
        return e.rollback_points(votes * q, votes * (1 - q), share, tolerated=tolerated)

    return _crossing(lambda votes: e.log_rollback(points(votes)), points, -math.log(alpha))


def votes_by_rule(risk: float, share: float, *, alpha: float) -> float:
    """Bad votes by Wald's rule ln(1/α) / KL(q_r ‖ w), which knows the risk and pays no mixture."""
    q = float(e.canary_share_of_votes(share, risk))
    divergence = q * math.log(q / share) + (1 - q) * math.log((1 - q) / (1 - share))
    return -math.log(alpha) / divergence


def requests_for_votes(votes: float, *, rate: float, risk: float, share: float) -> float:
    """Requests of both arms that bring so many bad votes."""
    mixed = share * min(1.0, rate * risk) + (1 - share) * rate
    return votes / mixed if mixed > 0 else NEVER


def scores_to_detect(quality: Quality, share: float, *, alpha: float) -> Delay:
    """Scores of both arms until the drop of `quality` is seen."""
    gains = np.array([_mean_gain(quality, share, stake) for stake in e.STAKES])
    return _crossing(lambda n: e.log_score(n * gains), lambda n: n * gains, -math.log(alpha))


def _crossing(
    log_e: Callable[[float], FloatArray],
    points: Callable[[float], FloatArray],
    log_threshold: float,
) -> Delay:
    """Find when the mean path crosses, and spread it by the leading bet's random walk.

    Near its best stake a walk of log wealth has a variance of twice its drift (Kelly), so that its
    delay over a barrier b, in units of the mean, is inverse Gaussian with shape b / 2.

    Source: Folks and Chhikara 1978, "The inverse Gaussian distribution and its statistical
    application", JRSS B 40.
    """
    mean = _smallest(lambda count: float(log_e(count)) >= log_threshold)
    if not math.isfinite(mean):
        return Delay(NEVER, NEVER)
    shape = float(points(mean).max()) / 2

    def quantile(p: float) -> float:
        return _smallest(lambda ratio: inverse_gaussian(ratio, shape) >= p)

    return Delay(mean * quantile(0.5), mean * quantile(0.9))


def inverse_gaussian(x: float, shape: float) -> float:
    """Distribution function of the inverse Gaussian with mean 1."""
    if x <= 0:
        return 0.0
    scale = math.sqrt(shape / x)
    return _normal(scale * (x - 1)) + math.exp(2 * shape) * _normal(-scale * (x + 1))


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def _mean_gain(quality: Quality, share: float, stake: float) -> float:
    """Expected log(1 + λ g) of one score, when the mean m has settled."""
    mean = quality.mean - share * quality.drop
    y = (np.arange(GRID) + 0.5) / GRID
    found = 0.0
    densities = quality.canary_density(y), quality.control_density(y)
    for density, weight, a_minus_w in zip(
        densities, (share, 1 - share), (1 - share, -share), strict=True
    ):
        gain = np.log1p(stake * a_minus_w * (mean - y))
        found += weight * float((density * gain).sum() / density.sum())
    return found


def _weights(policy: Policy, expected: Expected) -> dict[str, float]:
    """Weight of each expected metric that can roll back by comparison."""
    names = {*expected.rates, *([expected.quality.metric.name] if expected.quality else [])}
    return {
        member.metric.name: member.weight
        for member in policy.members
        if member.form is not Form.CAP and member.metric.name in names
    }


def _delay(policy: Policy, expected: Expected, name: str, share: float, *, weight: float) -> Delay:
    metric = policy.metric(name)
    # Its own term must carry the mean alone: E_k ≥ 1 / (α v_k).
    alpha = policy.alpha * weight
    if metric.kind is Kind.SCORE:
        return scores_to_detect(expected.quality or Quality(metric), share, alpha=alpha)
    votes = votes_to_detect(expected.risk, share, alpha=alpha, tolerated=metric.tolerated)
    facts = {"rate": expected.rates[name], "risk": expected.risk, "share": share}
    return Delay(requests_for_votes(votes.p50, **facts), requests_for_votes(votes.p90, **facts))


def _needs(
    policy: Policy,
    expected: Expected,
    carried: Mapping[str, FloatArray],
    *,
    stage: int,
    spent: float,
) -> dict[str, float]:
    share, last = policy.share(stage), stage == policy.last_stage
    stay_s = policy.soak_s if last else policy.dwell_s
    needs = {"dwell": stay_s * (expected.per_s or 0.0), "units": policy.min_units / share}
    for name, rate in expected.rates.items():
        metric = policy.metric(name)
        if metric.role is Role.GUARDRAIL:
            needs[name] = _proof(policy, metric, carried[name], rate=rate, share=share, spent=spent)
    return needs


def _proof(
    policy: Policy, metric: Metric, carried: FloatArray, *, rate: float, share: float, spent: float
) -> float:
    proof = -math.log(policy.alpha_promote)

    def proven(requests: float) -> bool:
        points = carried + _fine(metric, rate * requests, share)
        if metric.negligible is None:
            return float(e.log_promotion(points)) >= proof
        n1 = spent + share * requests
        little = e.log_cap_promotion(rate * n1, n1, metric.negligible)
        return float(e.log_harmless(points, little)) >= proof

    return _smallest(proven)


def _fine(metric: Metric, votes: float, share: float) -> FloatArray:
    return e.promotion_points(
        share * votes, (1 - share) * votes, share, margin=metric.margin, tolerated=metric.tolerated
    )


def _smallest(reached: Callable[[float], bool]) -> float:
    """Find the smallest count that is enough, within 0.01 %."""
    if reached(0.0):
        return 0.0
    high = 1.0
    while not reached(high):
        high *= 2.0
        if high > MOST_REQUESTS:
            return NEVER
    low = high / 2.0 if high > 1.0 else 0.0
    while high - low > 1e-4 * high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
