"""Run a scenario many times and say how often, and how soon, the rollout was rolled back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from apps.core.errors import Unprocessable
from apps.core.flags.evidence import FloatArray
from apps.core.flags.ladders import HELD, ROLLED_BACK, Ladders, Outcome
from apps.core.flags.metric import Kind, Metric
from apps.core.flags.policy import Policy
from apps.core.flags.rules import Row
from apps.core.flags.scenario import Behaviour, Quality, Scenario

BATCH = 2_000
# Sticky units are remembered for each run; so many of all runs take about 250 MB.
MOST_REMEMBERED = 10_000_000
ERROR = Metric("error", negligible=0.001)
OTHERS = (
    Behaviour(Metric("slow"), 0.05),
    Behaviour(Metric("fallback"), 0.02),
    Behaviour(Metric("cost"), 0.05),
    Behaviour(Metric("unsupported"), 0.03),
)
QUALITY = Metric("quality", kind=Kind.SCORE)
MOST_GUARDRAILS = len(OTHERS) + 2
RANKS = {"p50": 0.5, "p90": 0.9}


def at_share(share: float) -> Policy:
    """A rollout that stays at one canary share, in (0, 1), until it is rolled back."""
    return Policy(stages=(100.0 * share, 100.0), auto_promote=False)


def guarded(
    policy: Policy, *, p0: float, risk: float, guardrails: int = 1, drop: float = 0.0
) -> Scenario:
    """A service whose error share is `p0`, and `risk` times that in the canary.

    Args:
        policy: ladder and rules.
        p0: bad share of the control.
        risk: relative risk of the canary.
        guardrails: how many are watched, 1 to 6; the others are as good in the canary. The
            sixth is the quality score.
        drop: what the canary loses in quality; above 0 the score is watched anyway.

    Raises:
        Unprocessable: a number is out of its range.
    """
    if not (0 <= p0 <= 1 and 0 <= risk < math.inf and 1 <= guardrails <= MOST_GUARDRAILS):
        raise Unprocessable(
            f"p0 is 0 to 1, rr is a number from 0, guardrails are 1 to {MOST_GUARDRAILS}."
        )
    scored = guardrails == MOST_GUARDRAILS or drop > 0
    return Scenario(
        policy,
        (Behaviour(ERROR, p0, risk), *OTHERS[: guardrails - 1]),
        Quality(QUALITY, drop=drop) if scored else None,
    )


def simulate(
    scenario: Scenario,
    *,
    reps: int,
    seed: int,
    told: Callable[[int, int], None] = lambda finished, total: None,
) -> Outcome:
    """Run `reps` rollouts; the same seed gives the same outcome.

    Args:
        scenario: what happens.
        reps: independent rollouts; sticky units are redrawn every 2,000 of them or sooner.
        seed: of the random generator.
        told: hears how many of all looks are done.
    """
    batch = min(BATCH, max(1, MOST_REMEMBERED // (scenario.units or 1)))
    sizes = [min(batch, reps - start) for start in range(0, reps, batch)]
    looks = scenario.requests // scenario.look_requests
    rng = np.random.default_rng(seed)
    found = []
    for number, size in enumerate(sizes):
        ladders = Ladders.fresh(scenario, size, rng)
        for look in range(looks):
            ladders.advance()
            told(number * looks + look + 1, looks * len(sizes))
            if not len(ladders.index):
                break
        told((number + 1) * looks, looks * len(sizes))
        found.append(ladders.outcome)
    return Outcome(
        np.concatenate([each.rolled_back_at for each in found]),
        np.concatenate([each.full_at for each in found]),
        np.concatenate([each.held for each in found]),
        np.concatenate([each.ended_by for each in found]),
    )


def report(outcome: Outcome) -> dict[str, object]:
    """Shares of runs, and quantiles over all runs; None where the run of that rank never did."""
    return {
        "rolled_back_share": float(np.isfinite(outcome.rolled_back_at).mean()),
        "reached_full_share": float(np.isfinite(outcome.full_at).mean()),
        "held_share": float(outcome.held.mean()),
        "rolled_back_by": _reasons(outcome, ROLLED_BACK),
        "held_by": _reasons(outcome, HELD),
        "detection_requests": _quantiles(outcome.rolled_back_at),
        "full_requests": _quantiles(outcome.full_at),
        "runs": len(outcome.held),
    }


def _reasons(outcome: Outcome, rows: Sequence[Row]) -> dict[str, float]:
    shares = {row.name.lower(): float((outcome.ended_by == row).mean()) for row in rows}
    return {name: share for name, share in shares.items() if share}


def _quantiles(values: FloatArray) -> dict[str, float | None]:
    ranked = np.sort(values)
    found = {name: ranked[math.ceil(p * len(values)) - 1] for name, p in RANKS.items()}
    return {name: float(value) if math.isfinite(value) else None for name, value in found.items()}
