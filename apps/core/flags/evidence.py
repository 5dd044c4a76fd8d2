"""Evidence from randomised arms that may be looked at as often as one likes.

Every function works in logarithms on numbers or arrays alike, so that the controller and the
simulation share one implementation. A *point* is the log likelihood ratio of one member of a
mixture; points of stages, and of looks, add up, and the mixture is taken over the sums.

An E-process starts at 1 and, while its hypothesis holds, is expected not to grow; thus it ever
reaches 1/α with probability at most α (Ville's inequality; Ramdas, Grünwald, Vovk and Shafer 2023,
"Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

WORSE = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
"""Relative risks that the rollback mixture bets on."""
WORSE_WEIGHTS = (0.10, 0.20, 0.25, 0.20, 0.10, 0.05, 0.05, 0.05)
HARMLESS = (0.5, 0.8, 1.0, 1.2)
"""Relative risks that the promotion mixture bets on, with equal weights."""
STAKES = (0.1, 0.25, 0.5, 1.0)
"""λ of the score process, with equal weights."""
OVER_LIMIT = (2.0, 5.0, 20.0)
UNDER_LIMIT = (1 / 2, 1 / 5, 1 / 10)
HIGHEST_RATE = 0.9
SRM_CONCENTRATION = 100.0


def canary_share_of_votes(share: ArrayLike, ratio: ArrayLike) -> FloatArray:
    """Chance q_r that a bad vote is the canary's, when its relative risk is `ratio`."""
    weighted = np.asarray(share, float) * np.asarray(ratio, float)
    return np.asarray(weighted / (weighted + 1.0 - np.asarray(share, float)))


def rollback_points(
    canary: ArrayLike, control: ArrayLike, share: ArrayLike, *, tolerated: float = 1.0
) -> FloatArray:
    """Compare "the canary is worse" with H0 "its relative risk is at most `tolerated`".

    Args:
        canary: (...) bad votes of the canary in one stage.
        control: (...) bad votes of the control in it.
        share: (...) canary share w of that stage, inside (0, 1).
        tolerated: ρ₀; the mixture's ratios are multiples of it, because a ratio below it
            would be evidence for the wrong side.

    Returns:
        (..., 8) log likelihood ratios, one for each ratio of `WORSE`.
    """
    return _vote_points(canary, control, share, np.multiply(WORSE, tolerated), tolerated)


def promotion_points(
    canary: ArrayLike,
    control: ArrayLike,
    share: ArrayLike,
    *,
    margin: float = 2.0,
    tolerated: float = 1.0,
) -> FloatArray:
    """Compare "about as good" with H0 "the relative risk is at least `margin`".

    Returns:
        (..., 4) log likelihood ratios, one for each ratio of `HARMLESS`.
    """
    return _vote_points(canary, control, share, np.multiply(HARMLESS, tolerated), margin)


def _vote_points(
    canary: ArrayLike, control: ArrayLike, share: ArrayLike, ratios: FloatArray, null: float
) -> FloatArray:
    w = np.asarray(share, float)[..., None]
    q, q0 = canary_share_of_votes(w, ratios), canary_share_of_votes(w, null)
    s1, s0 = np.asarray(canary, float)[..., None], np.asarray(control, float)[..., None]
    return np.asarray(s1 * np.log(q / q0) + s0 * np.log((1.0 - q) / (1.0 - q0)))


def log_rollback(points: FloatArray) -> FloatArray:
    """Mix the sums of `rollback_points` into log E."""
    return log_mixture(points, WORSE_WEIGHTS)


def log_promotion(points: FloatArray) -> FloatArray:
    """Mix the sums of `promotion_points` into log E⁻."""
    return log_mixture(points, np.full(len(HARMLESS), 1 / len(HARMLESS)))


def log_harmless(points: FloatArray, rate: ArrayLike) -> FloatArray:
    """Join `log_promotion` with the proof that the rate is of no matter, each with half a stake.

    Either would do, but the larger of two E-processes is none: whoever takes it is wrong up to
    twice as often. Their mean is one.

    Args:
        points: (..., 4) sums of `promotion_points`.
        rate: (...) `log_cap_promotion` at the negligible rate.
    """
    both = np.stack([log_promotion(points), np.asarray(rate, float)], axis=-1)
    return log_mixture(both, (0.5, 0.5))


def log_score(points: FloatArray) -> FloatArray:
    """Mix the points of `ScoreState` into log E."""
    return log_mixture(points, np.full(len(STAKES), 1 / len(STAKES)))


def log_mixture(points: ArrayLike, weights: ArrayLike) -> FloatArray:
    """Log of the weighted sum over the last axis, without overflow.

    Also joins several guardrails: a weighted mean of E-processes is one, however they depend.
    """
    values = np.asarray(points, float)
    top = values.max(axis=-1)
    mixed = np.exp(values - top[..., None]) @ np.asarray(weights, float)
    return np.asarray(top + np.log(mixed))


@dataclass(frozen=True, slots=True)
class ScoreState:
    """All that is kept of a score metric: its evidence, and the mean of the running stage.

    Attributes:
        points: (..., 4) log wealth for each stake of `STAKES`, over the epoch.
        n: (...) scores of the running stage.
        total: (...) their sum.
    """

    points: FloatArray
    n: FloatArray
    total: FloatArray

    @staticmethod
    def fresh(shape: tuple[int, ...] = ()) -> ScoreState:
        """No score yet."""
        return ScoreState(np.zeros((*shape, len(STAKES))), np.zeros(shape), np.zeros(shape))

    def next_stage(self) -> ScoreState:
        """Keep the evidence and forget the mean."""
        return ScoreState(self.points, np.zeros_like(self.n), np.zeros_like(self.total))

    def after(
        self, canary: ArrayLike, score: ArrayLike, share: ArrayLike, *, counted: ArrayLike = True
    ) -> ScoreState:
        """Bet on scores in their order: g = (A - w)(m - Y), m the mean of the scores before.

        Args:
            canary: (..., t) True where the vote is the canary's.
            score: (..., t) in [0, 1], lower is worse.
            share: (...) canary share of the stage.
            counted: (..., t) False leaves a vote out.

        Source: betting on a bounded mean, Waudby-Smith and Ramdas 2024, "Estimating means of
        bounded random variables by betting", JRSS B 86; the randomisation makes E[g] ≤ 0.
        """
        y, keep = np.broadcast_arrays(np.asarray(score, float), np.asarray(counted, float))
        w = np.asarray(share, float)[..., None]
        n_before = self.n[..., None] + np.cumsum(keep, axis=-1) - keep
        sum_before = self.total[..., None] + np.cumsum(y * keep, axis=-1) - y * keep
        mean = np.where(n_before > 0, sum_before / np.maximum(n_before, 1.0), 0.5)
        g = keep * (np.asarray(canary, float) - w) * (mean - y)
        gains = np.stack([np.log1p(stake * g).sum(axis=-1) for stake in STAKES], axis=-1)
        return ScoreState(
            self.points + gains,
            self.n + keep.sum(axis=-1),
            self.total + (y * keep).sum(axis=-1),
        )


def log_cap_rollback(bad: ArrayLike, n: ArrayLike, limit: float) -> FloatArray:
    """Evidence that the canary's rate is above `limit`, from `bad` of its `n` requests."""
    rates = np.minimum(np.multiply(OVER_LIMIT, limit), HIGHEST_RATE)
    return _log_rate_ratio(bad, n, limit, rates)


def log_cap_promotion(bad: ArrayLike, n: ArrayLike, limit: float) -> FloatArray:
    """Evidence that the canary's rate is below `limit`, from `bad` of its `n` requests."""
    return _log_rate_ratio(bad, n, limit, np.multiply(UNDER_LIMIT, limit))


def _log_rate_ratio(bad: ArrayLike, n: ArrayLike, limit: float, rates: FloatArray) -> FloatArray:
    k, good = np.asarray(bad, float), np.asarray(n, float) - np.asarray(bad, float)
    points = k[..., None] * np.log(rates / limit)
    points = points + good[..., None] * np.log((1.0 - rates) / (1.0 - limit))
    return log_mixture(points, np.full(len(rates), 1 / len(rates)))


def log_srm(canary: ArrayLike, control: ArrayLike, share: ArrayLike) -> FloatArray:
    """Evidence that units do not fall into the arms by `share`; the logs of stages add up.

    Args:
        canary: (...) units first seen in the canary in one stage.
        control: (...) units first seen in the control in it.
        share: (...) canary share of that stage.

    Source: beta-binomial against binomial, Lindon and Malek 2022, "Anytime-valid inference for
    multinomial count data", NeurIPS; the concentration of 100 is FLAGS.md's.
    """
    n1, n0, w = (np.asarray(value, float) for value in (canary, control, share))
    a, b = SRM_CONCENTRATION * w, SRM_CONCENTRATION * (1.0 - w)
    seen = _log_beta(a + n1, b + n0) - _log_beta(a, b)
    return np.asarray(seen - n1 * np.log(w) - n0 * np.log1p(-w))


def _log_beta(a: FloatArray, b: FloatArray) -> FloatArray:
    return log_gamma(a) + log_gamma(b) - log_gamma(a + b)


def log_gamma(x: ArrayLike) -> FloatArray:
    """Logarithm of the gamma function for positive numbers, within 1e-12 (relative).

    Source: Stirling's series (NIST DLMF 5.11.1) at x + 8, brought back by the recurrence.
    """
    value = np.asarray(x, float)
    z = value + 8.0
    below = value.copy()
    for step in range(1, 8):
        below = below * (value + step)
    inverse = 1.0 / (z * z)
    series = 1 / 1260 - inverse * (1 / 1680 - inverse * (1 / 1188 - inverse * 691 / 360360))
    series = (1 / 12 - inverse * (1 / 360 - inverse * series)) / z
    return np.asarray(
        (z - 0.5) * np.log(z) - z + 0.5 * math.log(2 * math.pi) + series - np.log(below)
    )
