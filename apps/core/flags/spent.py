"""What requests of the control take, counted in classes, from which a stage's limits are read.

A class is an eighth of an octave wide, so a limit lies at most 9 % above the percentile. Each
limit belongs to one route: milliseconds of searches say nothing about answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

SLOW, COST, SLOW_SEARCH = "slow", "cost", "slow_search"
LIMITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"slow": (SLOW, SLOW_SEARCH), "cost": (COST,)}
)
"""Metric to the limits that it needs, in milliseconds (`slow`) or tokens (`cost`)."""
PERCENTILE = 0.95
FINEST = 0.01
IN_AN_OCTAVE = 8


def class_of(value: float) -> int:
    """The class of milliseconds or tokens; 0 holds everything up to `FINEST`."""
    return 0 if value <= FINEST else math.ceil(IN_AN_OCTAVE * math.log2(value / FINEST))


def highest(of_class: int) -> float:
    """The largest value of a class; 0 for the lowest."""
    return FINEST * 2.0 ** (of_class / IN_AN_OCTAVE) if of_class else 0.0


def limit(classes: Mapping[int, int], *, enough: int) -> float | None:
    """The 95th percentile, rounded up to the end of its class; None when too few were counted.

    Args:
        classes: class to how many requests of the control were in it.
        enough: fewest requests that are worth a percentile.
    """
    total, below = sum(classes.values()), 0
    if total < enough:
        return None
    for of_class in sorted(classes):
        below += classes[of_class]
        if below >= PERCENTILE * total:
            return highest(of_class)
    return None  # pragma: no cover - the last class reaches the total
