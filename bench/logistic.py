"""Logistic regression with a ridge penalty, for a few hundred rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 50
PENALTY = 2.0
TINY = 1e-9


def fitted(rows: Floats, labels: Floats, weights: Floats) -> Floats:
    """Bias and one coefficient a column, by Newton's method on the penalised likelihood.

    Args:
        rows: (n, d), in any scale; the penalty is on the columns scaled to deviation 1.
        labels: (n,), 0 or 1.
        weights: (n,), scaled to mean 1 here.

    Returns:
        (d + 1,), for the columns as they were given.
    """
    middle, width = rows.mean(axis=0), rows.std(axis=0) + TINY
    x = np.column_stack([np.ones(len(rows)), (rows - middle) / width])
    weights = weights / weights.mean()
    penalty = np.diag([TINY, *[PENALTY] * rows.shape[1]])
    found = np.zeros(x.shape[1])
    for _ in range(STEPS):
        share = 1 / (1 + np.exp(-x @ found))
        slope = x.T @ (weights * (labels - share)) - penalty @ found
        curve = (x.T * (weights * share * (1 - share))) @ x + penalty
        found += np.linalg.solve(curve, slope)
    slopes = found[1:] / width
    return np.array([found[0] - slopes @ middle, *slopes])


def probabilities(rows: Floats, coefficients: Floats) -> Floats:
    """(n,) of label 1."""
    result: Floats = 1 / (1 + np.exp(-(coefficients[0] + rows @ coefficients[1:])))
    return result
