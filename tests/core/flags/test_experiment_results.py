"""Experiments that everybody looks at all the time, small; `bench/experiment.py` has more."""

from __future__ import annotations

import numpy as np
import pytest

from bench.experiment import ALIKE, DIFFERENT, Case, Run, found, wrong

SEED, RUNS = 20261121, 30


@pytest.mark.parametrize("case", ALIKE, ids=lambda case: case.name)
def test_a_look_is_rarely_wrong(case: Case) -> None:
    """At most 5 % of the experiments, whenever one looks; twice that for so few runs."""
    rng = np.random.default_rng(SEED)
    made = Case(case.name, case.arms, 1_000, case.risk, case.drop)
    runs = [any(wrong(made, look) for look in Run(made, rng).looks()) for _ in range(RUNS)]
    assert np.mean(runs) <= 0.1


@pytest.mark.parametrize(("case", "metric"), DIFFERENT, ids=lambda each: str(each)[:40])
def test_a_planted_difference_is_found(case: Case, metric: str) -> None:
    """In most experiments before they end."""
    rng = np.random.default_rng(SEED)
    runs = [any(found(look, metric) for look in Run(case, rng).looks()) for _ in range(10)]
    assert np.mean(runs) >= 0.8
