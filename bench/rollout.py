"""Staged rollout: false rollbacks, delays and arrivals on simulated traffic, targets beside them.

The controller's own rules decide (apps/core/flags/ladders.py). Quantiles are over all runs. The
comparison rows show what two usual practices do with a harmless canary.

Usage: python -m bench.rollout [--seed 20261121] [--scale 1.0] [--matrix] [--json]
  --scale  multiplies the number of runs
  --matrix adds relative risk x share x base rate, with the forecast of `dtrag rollout plan`
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from apps.core.flags import evidence, planning
from apps.core.flags.ladders import Outcome
from apps.core.flags.policy import DAY_S, Policy
from apps.core.flags.scenario import Quality, Scenario, Weather
from apps.core.flags.simulate import OTHERS, QUALITY, at_share, guarded, simulate

SEED = 20261121
LADDER = Policy()
# With few sticky units the defaults would keep every run in its first stage, or hold it.
STICKY = replace(LADDER, min_units=50, min_control_units=5)
TEN = (1, 2, 5, 10, 20, 30, 40, 50, 75, 100)
OUTAGE = Weather(outage_at_s=900.0)
DAILY = Weather(drift=0.8)


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    name: str
    target: str
    measured: float | None
    met: bool | None
    runs: int
    forecast: float | None = None


@dataclass(frozen=True)
class Case:
    """A scenario and the number of runs at scale 1."""

    name: str
    scenario: Scenario
    runs: int


def service(
    policy: Policy = LADDER,
    *,
    risk: float = 1.0,
    guardrails: int = 1,
    requests: int = 40_000,
    look: int = 100,
) -> Scenario:
    """The usual service: 1 % errors, 5 requests a second."""
    made = guarded(policy, p0=0.01, risk=risk, guardrails=guardrails)
    return replace(made, requests=requests, look_requests=look)


def sticky(units: int) -> Scenario:
    """Few units, 5 % errors, so that there are votes at all."""
    made = guarded(STICKY, p0=0.05, risk=1.0)
    return replace(made, requests=40_000, look_requests=100, units=units)


def harmless() -> tuple[Case, ...]:
    """Ladders of a canary that is as good as the control."""
    day = replace(service(requests=int(4 * DAY_S), look=800), per_s=4.0, weather=DAILY)
    return (
        Case("plain", service(), 10_000),
        Case("outage, 1 to 15 % for 10 min", replace(service(), weather=OUTAGE), 4_000),
        Case("daily drift, 0.2 to 1.8 %", day, 2_000),
        Case("six guardrails", service(guardrails=6), 2_000),
        Case("ten stages", service(replace(LADDER, stages=TEN)), 1_000),
        Case("500 sticky units", sticky(500), 2_000),
        Case("2,000 sticky units", sticky(2_000), 1_000),
    )


def harmful() -> tuple[tuple[Case, float, float], ...]:
    """Canaries at 10 % with the target for the median delay, and its forecast."""
    stay, quality = at_share(0.1), Quality(QUALITY, drop=0.05)
    risks = ((2.0, 16_000, 60_000), (5.0, 2_000, 20_000), (50.0, 300, 3_000))
    cases = [
        (
            Case(
                f"relative risk {risk:g}",
                service(stay, risk=risk, requests=most, look=50),
                2_000,
            ),
            target,
            forecast(risk, 0.1, 0.01),
        )
        for risk, target, most in risks
    ]
    slow = Scenario(stay, (replace(OTHERS[0], risk=2.0),), requests=20_000)
    cases.append((Case("slow answers 5 to 10 %", slow, 2_000), 3_500, forecast(2.0, 0.1, 0.05)))
    worse = Scenario(stay, (), quality, requests=12_000)
    seen = planning.scores_to_detect(quality, 0.1, alpha=LADDER.alpha).p50
    cases.append((Case("quality .80 to .75", worse, 1_000), 2_500, seen))
    return tuple(cases)


def forecast(risk: float, share: float, p0: float) -> float:
    """Median delay in requests, as `dtrag rollout plan` says it."""
    votes = planning.votes_to_detect(risk, share, alpha=LADDER.alpha).p50
    return planning.requests_for_votes(votes, rate=p0, risk=risk, share=share)


def rolled_back(outcome: Outcome) -> float:
    """Share of runs that were rolled back."""
    return float(np.isfinite(outcome.rolled_back_at).mean())


def arrived(outcome: Outcome) -> float:
    """Share of runs that reached the last stage."""
    return float(np.isfinite(outcome.full_at).mean())


def median(values: np.ndarray) -> float | None:
    """Median over all runs; None if most never did."""
    found = float(np.quantile(values, 0.5, method="inverted_cdf"))
    return found if math.isfinite(found) else None


def false_rollbacks(run: Callable[[Case], Outcome]) -> Iterator[Line]:
    """A/A ladders."""
    total = back = 0.0
    for case in harmless():
        outcome = run(case)
        share, runs = rolled_back(outcome), len(outcome.held)
        total, back = total + runs, back + share * runs
        yield Line(f"A/A rolled back: {case.name}", "<= 1 %", share, share <= 0.01, runs)
    yield Line("A/A rolled back: all", "<= 1 %", back / total, back / total <= 0.01, int(total))


def delays(run: Callable[[Case], Outcome]) -> Iterator[Line]:
    """Median requests until a rollback."""
    for case, target, expected in harmful():
        outcome = run(case)
        found = median(outcome.rolled_back_at)
        met = found is not None and found <= target
        name = f"requests until seen: {case.name}"
        yield Line(name, f"<= {target:,}", found, met, len(outcome.held), expected)


def arrivals(run: Callable[[Case], Outcome]) -> Iterator[Line]:
    """Who reaches the last stage."""

    def ladder(risk: float = 1.0, guardrails: int = 1) -> Scenario:
        return service(risk=risk, guardrails=guardrails, requests=200_000, look=200)

    good = run(Case("good", ladder(), 2_000))
    yield Line(
        "good release arrives", ">= 98 %", arrived(good), arrived(good) >= 0.98, len(good.held)
    )
    yield Line("  after requests, median", "-", median(good.full_at), None, len(good.held))
    six = run(Case("good, six", ladder(guardrails=6), 300))
    yield Line(
        "  the same, six guardrails", ">= 98 %", arrived(six), arrived(six) >= 0.98, len(six.held)
    )
    for risk in (2.0, 3.0, 5.0):
        bad = run(Case("bad", ladder(risk), 2_000))
        name = f"relative risk {risk:g} arrives"
        yield Line(name, "<= 3 %", arrived(bad), arrived(bad) <= 0.03, len(bad.held))
    for risk in (1.2, 1.5):
        some = run(Case("some", ladder(risk), 1_000))
        yield Line(
            f"relative risk {risk:g} rolled back", "-", rolled_back(some), None, len(some.held)
        )


def uneven(seed: int, runs: int) -> Iterator[Line]:
    """The check of the split: looked at after every tenth unit of 50,000, at a share of 10 %."""
    rng = np.random.default_rng(seed)
    total = np.arange(10, 50_001, 10)
    threshold = math.log(LADDER.srm_threshold)
    for true, target in ((0.1, None), (0.12, 6_000), (0.15, 1_500), (0.08, 6_000)):
        alarm = np.full(runs, np.inf)
        for run in range(runs):
            canary = rng.binomial(10, true, len(total)).cumsum()
            over = evidence.log_srm(canary, total - canary, 0.1) >= threshold
            if over.any():
                alarm[run] = total[over.argmax()]
        if target is None:
            found = float(np.isfinite(alarm).mean())
            yield Line("even split taken for uneven", "<= .1 %", found, found <= 0.001, runs)
            continue
        middle = median(alarm)
        met = middle is not None and middle <= target
        yield Line(f"units until seen: 10 % are {true:.0%}", f"<= {target:,}", middle, met, runs)


def usual_practice(seed: int, runs: int) -> Iterator[Line]:
    """What peeking at a z-test, and fixed thresholds, do with a harmless canary at 10 %."""
    rng = np.random.default_rng(seed)
    looks, n1, n0 = 133, 30, 270
    bad1 = rng.binomial(n1, 0.01, (runs, looks))
    bad0 = rng.binomial(n0, 0.01, (runs, looks))
    s1, s0 = bad1.cumsum(axis=1), bad0.cumsum(axis=1)
    c1, c0 = n1 * np.arange(1, looks + 1), n0 * np.arange(1, looks + 1)
    pooled = (s1 + s0) / (c1 + c0)
    error = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / c1 + 1 / c0), 1e-12))
    z = (s1 / c1 - s0 / c0) / error
    peeked = float((z[:, 2:] > 2.326).any(axis=1).mean())
    yield Line("A/A, z-test at 1 %, looked at each minute", "-", peeked, None, runs)
    five = np.lib.stride_tricks.sliding_window_view(bad1, 5, axis=1).sum(axis=2)
    for limit in (0.01, 0.02):
        convicted = float((five > limit * 5 * n1).any(axis=1).mean())
        yield Line(f"A/A, canary over {limit:.0%} in five minutes", "-", convicted, None, runs)


def matrix(seed: int, runs: int) -> Iterator[Line]:
    """Median delays over relative risk, share and base rate; `-` is more than 400,000."""
    for risk in (1.5, 2.0, 3.0, 5.0, 10.0, 50.0):
        for share in (0.05, 0.1, 0.25, 0.5):
            for p0 in (0.001, 0.005, 0.01, 0.05):
                expected = forecast(risk, share, min(p0, 1.0))
                look = max(10, min(1_000, int(expected / 20)))
                made = guarded(at_share(share), p0=p0, risk=risk)
                made = replace(made, requests=390_000, look_requests=look)
                found = median(simulate(made, reps=runs, seed=seed).rolled_back_at)
                name = f"RR {risk:g}, share {share:g}, base {p0:g}"
                yield Line(name, "-", found, None, runs, expected)


def shown(value: float | None) -> str:
    """A share as a percentage, a number of requests as itself."""
    if value is None:
        return "-"
    return f"{value:.2%}" if value <= 1 else f"{value:,.0f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--matrix", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    def run(case: Case) -> Outcome:
        reps = max(1, round(case.runs * options.scale))
        return simulate(case.scenario, reps=reps, seed=options.seed)

    started, lines = time.process_time(), []
    if not options.json:
        print(f"seed {options.seed}\n{'':52}{'target':>10}{'measured':>10}{'forecast':>10}   runs")
    parts = [false_rollbacks(run), delays(run), arrivals(run)]
    parts.append(uneven(options.seed, max(1, round(1_000 * options.scale))))
    parts.append(usual_practice(options.seed, max(1, round(2_000 * options.scale))))
    if options.matrix:
        parts.append(matrix(options.seed, max(1, round(100 * options.scale))))
    for line in (line for part in parts for line in part):
        lines.append(line)
        if not options.json:
            mark = " MISSED" if line.met is False else ""
            figures = f"{line.target:>10}{shown(line.measured):>10}{shown(line.forecast):>10}"
            print(f"{line.name:52}{figures}{line.runs:>7}{mark}", flush=True)
    seconds = time.process_time() - started
    if options.json:
        print(json.dumps({"seed": options.seed, "lines": [asdict(line) for line in lines]}))
        return
    print(f"{seconds:.0f} s of processor time")


if __name__ == "__main__":
    main()
