"""The randomised part of a flag: which units a staged rollout or an experiment takes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from apps.core.errors import Unprocessable
from apps.core.flags.fractional import MAX_TOTAL
from apps.core.flags.hashing import BUCKETS, HashVersion, rollout_bucket

BUCKET_BY = ("user_id", "session_id", "request_id")
CANARY, CONTROL = "canary", "control"
PERCENT = BUCKETS // 100
ARM_SALT = "arm"


@dataclass(frozen=True, slots=True)
class Split:
    """A share of the units; whoever is in at 5 % is in at 25 %.

    id: None for a share that was set by hand.
    percent: 0-100 in steps of 0.001; `holdback`: of the units, kept in control at the top.
    bucket_by: names of the context; the first that is known is the unit.
    arms: variant to weight makes it an experiment among these; else `variant` (None: the one
        that is true) goes to the canary.
    salt: None for the flag's own.
    counts: whether its units enter the statistics; false for one that is over.
    tau: limits frozen at the start of the stage: `slow` in milliseconds, `cost` in tokens.
    """

    flag_key: str
    percent: float
    id: str | None = None
    holdback: float = 0.0
    bucket_by: tuple[str, ...] = BUCKET_BY
    variant: str | None = None
    arms: Mapping[str, int] = field(default_factory=dict)
    salt: str | None = None
    epoch: int | None = None
    stage: int | None = None
    counts: bool = True
    tau: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (0 <= self.percent <= 100 and 0 <= self.holdback <= 100):
            raise Unprocessable("A share is a percentage from 0 to 100.")
        if self.arms and not 0 < sum(self.arms.values()) <= MAX_TOTAL:
            raise Unprocessable("The weights of the arms must sum to more than 0.")
        if not self.bucket_by or any(weight < 0 for weight in self.arms.values()):
            raise Unprocessable("A rollout needs a unit, and weights that are not negative.")

    @property
    def end(self) -> int:
        """The first bucket that is not taken; the holdback is above it."""
        return min(round(self.percent * PERCENT), BUCKETS - round(self.holdback * PERCENT))


Bucket = Callable[[str], int]


def by_hand(flag_key: str, percent: float | None) -> Split | None:
    """The share that an operator set; nobody and everybody are no share but a default variant."""
    if percent is None or not 0 < percent < 100:
        return None
    return Split(flag_key, percent)


def arm_of_unit(
    rollout: Split, version: HashVersion, salt: str
) -> Callable[[str], tuple[str, int]]:
    """A function from a unit of an experiment to its variant and pool, whatever the percentage."""
    names = list(rollout.arms)
    ends = list(accumulate(rollout.arms.values()))
    width = math.gcd(*rollout.arms.values())
    bucket = rollout_bucket(version, rollout.flag_key, f"{salt}:{ARM_SALT}")

    def arm(unit: str) -> tuple[str, int]:
        place = bucket(unit) * ends[-1] // BUCKETS
        return names[bisect_right(ends, place)], place // width

    return arm


def pool_width(rollout: Split) -> int:
    """Buckets in a pool: the largest number that fits into both arms without a rest."""
    return math.gcd(rollout.end, BUCKETS - rollout.end)


def unit_of(data: Mapping[str, object], bucket_by: tuple[str, ...]) -> str | None:
    """The unit of a request: the first name that is known."""
    for name in bucket_by:
        value = data.get(name)
        if value and isinstance(value, str):
            return value
    return None
