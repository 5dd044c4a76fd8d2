"""Run a scenario many times and say how often, and how soon, the rollout was rolled back."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from apps.core.flags.evidence import FloatArray
from apps.core.flags.ladders import Ladders, Outcome
from apps.core.flags.scenario import Scenario

BATCH = 2_000
RANKS = {"p50": 0.5, "p90": 0.9}


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
        reps: independent rollouts; sticky units are redrawn every 2,000 of them.
        seed: of the random generator.
        told: hears how many of all looks are done.
    """
    sizes = [min(BATCH, reps - start) for start in range(0, reps, BATCH)]
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
        found.append(ladders.outcome)
    return Outcome(
        np.concatenate([each.rolled_back_at for each in found]),
        np.concatenate([each.full_at for each in found]),
        np.concatenate([each.held for each in found]),
    )


def report(outcome: Outcome) -> dict[str, object]:
    """Shares of runs, and quantiles over all runs; None where the run of that rank never did."""
    return {
        "rolled_back_share": float(np.isfinite(outcome.rolled_back_at).mean()),
        "reached_full_share": float(np.isfinite(outcome.full_at).mean()),
        "held_share": float(outcome.held.mean()),
        "detection_requests": _quantiles(outcome.rolled_back_at),
        "full_requests": _quantiles(outcome.full_at),
        "runs": len(outcome.held),
    }


def _quantiles(values: FloatArray) -> dict[str, float | None]:
    ranked = np.sort(values)
    found = {name: ranked[math.ceil(p * len(values)) - 1] for name, p in RANKS.items()}
    return {name: float(value) if math.isfinite(value) else None for name, value in found.items()}
