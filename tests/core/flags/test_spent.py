"""Classes of what requests take, and the limit that is read from them."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.flags.policy import Policy
from apps.core.flags.spent import LIMITS, class_of, highest, limit


@given(st.floats(0.0, 1e7))
def test_a_class_ends_little_above_its_values(value: float) -> None:
    """At most 9 % above, and never below."""
    end = highest(class_of(value))
    assert value <= end * (1 + 1e-12) or end == 0.0
    assert end <= max(value, 0.01) * 2 ** (1 / 8) * (1 + 1e-12)


def test_classes_rise() -> None:
    """So that summing them from the lowest is summing from the fastest."""
    ends = [highest(of_class) for of_class in range(250)]
    assert ends == sorted(ends)
    assert highest(249) > 60_000.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_limit_is_the_percentile_to_the_end_of_its_class(seed: int) -> None:
    """Of five in a hundred at most."""
    rng = random.Random(seed)
    values = [rng.lognormvariate(5.0, 1.0) for _ in range(400)]
    found = limit(Counter(map(class_of, values)), enough=100)
    exact = sorted(values)[math.ceil(0.95 * 400) - 1]
    assert found is not None
    assert exact <= found <= exact * 1.1
    assert sum(value > found for value in values) <= 20


def test_too_few_requests_have_no_limit() -> None:
    """99 say nothing; 100 do."""
    assert limit({}, enough=100) is None
    assert limit({8: 99}, enough=100) is None
    assert limit({8: 100}, enough=100) == highest(8)
    assert limit({0: 100}, enough=100) == 0.0


def test_limits_belong_to_metrics_of_the_default_policy() -> None:
    """One word names them in the policy and here."""
    assert LIMITS.keys() <= {metric.name for metric in Policy().metrics}
