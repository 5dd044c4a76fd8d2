"""Two variants of an experiment compared at any time, as often as one likes.

Evidence is an e-process in each direction; intervals are confidence sequences, which hold at all
looks together. The first variant is what the others are compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from apps.core.flags import evidence as e
from apps.core.flags.evidence import ScoreState

LARGEST_BET = 0.5
# Weight of the prior of the share of votes, in votes; any value is valid.
PRIOR_VOTES = 2.0
EDGE = 1e-12
STEPS = 80


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a number lies, at all looks together with the chance that was asked for."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a variant against the first one; logarithms are natural."""

    log_worse: float
    log_better: float
    interval: Interval

    def word(self, log_threshold: float) -> str:
        """`worse`, `better`, or `undecided`."""
        if self.log_worse >= log_threshold:
            return "worse"
        return "better" if self.log_better >= log_threshold else "undecided"


def compare_votes(votes: int, first: int, share: float, *, alpha: float) -> Verdict:
    """Compare bad votes; the interval is of the relative risk.

    Args:
        votes: units of the variant that were bad.
        first: the same of the first variant.
        share: of the units of both that the variant gets.
        alpha: chance that the interval is ever wrong.
    """
    worse = e.log_rollback(e.rollback_points(votes, first, share))
    better = e.log_rollback(e.rollback_points(first, votes, 1.0 - share))
    return Verdict(float(worse), float(better), risk_interval(votes, first, share, alpha=alpha))


def compare_scores(
    canary: Sequence[bool], scores: Sequence[float], share: float, *, alpha: float
) -> Verdict:
    """Compare scores of units in their order; the interval is of the difference of means.

    Args:
        canary: True where the score is the variant's, False where it is the first one's.
        scores: in [0, 1], higher is better.
        share: of the units of both that the variant gets.
        alpha: chance that the interval is ever wrong.
    """
    mine, y = np.asarray(canary, bool), np.asarray(scores, float)
    worse = ScoreState.fresh().after(mine, y, share).points
    better = ScoreState.fresh().after(mine, 1.0 - y, share).points
    own = mean_interval(y[mine], alpha=alpha / 2)
    other = mean_interval(y[~mine], alpha=alpha / 2)
    difference = Interval(own.low - other.high, own.high - other.low)
    return Verdict(float(e.log_score(worse)), float(e.log_score(better)), difference)


def mean_interval(scores: ArrayLike, *, alpha: float) -> Interval:
    """Where the mean of numbers in [0, 1] lies.

    Source: the predictable plug-in empirical Bernstein confidence sequence, Theorem 2 of
    Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
    JRSS B 86; x are the scores, λ the bets, v their surprises.
    """
    x = np.asarray(scores, float)
    if x.size == 0:
        return Interval(0.0, 1.0)
    t = np.arange(1, x.size + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    mean_before = np.concatenate(([0.5], mean[:-1]))
    variance_before = np.concatenate(([0.25], variance[:-1]))
    bound = math.log(2 / alpha)
    bets = np.minimum(np.sqrt(2 * bound / (variance_before * t * np.log1p(t))), LARGEST_BET)
    surprises = 4 * (x - mean_before) ** 2 * (-np.log1p(-bets) - bets) / 4
    total = np.cumsum(bets)
    centre, radius = np.cumsum(bets * x) / total, (bound + np.cumsum(surprises)) / total
    low, high = float((centre - radius).max()), float((centre + radius).min())
    return Interval(max(0.0, low), min(1.0, high))


def risk_interval(votes: int, first: int, share: float, *, alpha: float) -> Interval:
    """Where the relative risk lies, from whose the bad votes are.

    A beta mixture against each share of the votes; those that it does not refute stay
    (Lindon and Malek 2022, as in `evidence.log_srm`).
    """
    a, b = PRIOR_VOTES * share, PRIOR_VOTES * (1.0 - share)
    mixed = float(_log_beta(a + votes, b + first) - _log_beta(a, b))

    def kept(q: float) -> bool:
        return mixed - votes * math.log(q) - first * math.log1p(-q) < -math.log(alpha)

    best = min(max(votes / max(votes + first, 1), EDGE), 1.0 - EDGE)
    if votes + first == 0:
        return Interval(0.0, math.inf)
    low = 0.0 if kept(EDGE) else _border(kept, EDGE, best)
    high = 1.0 if kept(1.0 - EDGE) else _border(kept, 1.0 - EDGE, best)
    return Interval(_risk(low, share), _risk(high, share))


def _border(kept: Callable[[float], bool], out: float, inside: float) -> float:
    for _ in range(STEPS):
        middle = (out + inside) / 2
        out, inside = (out, middle) if kept(middle) else (middle, inside)
    return out


def _risk(q: float, share: float) -> float:
    return math.inf if q >= 1.0 else q * (1.0 - share) / (share * (1.0 - q))


def _log_beta(a: float, b: float) -> float:
    return float(e.log_gamma(a) + e.log_gamma(b) - e.log_gamma(a + b))
