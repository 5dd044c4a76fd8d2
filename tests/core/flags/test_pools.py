"""Who shares a cached answer: groups of equal size within one arm, so that caches favour none."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from apps.core.domain.flags import Flag
from apps.core.flags.context import FlagContext
from apps.core.flags.rollout import Split
from apps.core.flags.searching import HYBRID, pool_by
from apps.core.flags.snapshot import FlagWorld, Snapshot

KEY = HYBRID
UNITS = [f"user-{n}" for n in range(3_000)]


def under(rollout: Split) -> Snapshot:
    return Snapshot(FlagWorld(flags=(Flag(KEY, "a flag"),), rollouts={KEY: rollout}))


def climbing(percent: float, **more: object) -> Split:
    return Split(KEY, percent, id="r1", epoch=1, **{"stage": 0, "holdback": 5.0, **more})


@pytest.mark.parametrize("percent", [5.0, 25.0, 37.5, 50.0, 100.0])
def test_a_pool_lies_in_one_arm_and_all_are_equally_large(percent: float) -> None:
    """Within chance; 37.5 % in pools of 12.5 %, 95 % in pools of 5 %."""
    snapshot, arms, sizes = under(climbing(percent)), {}, Counter[str]()
    for unit in UNITS:
        made = snapshot.evaluate_all(FlagContext(user_id=unit))[KEY]
        assert arms.setdefault(made.shared_by, made.arm) == made.arm
        sizes[made.shared_by] += 1
    assert set(arms.values()) == {"canary", "control"}
    expected = len(UNITS) / len(sizes)
    assert all(abs(size - expected) < 5 * expected**0.5 for size in sizes.values())


def test_variants_of_an_experiment_have_pools_too() -> None:
    """One to nine makes ten of them."""
    made = Split(KEY, 100, id="e1", epoch=1, stage=0, arms={"on": 1, "off": 9})
    snapshot = under(made)
    found = [snapshot.evaluate_all(FlagContext(user_id=unit))[KEY] for unit in UNITS]
    assert len({each.shared_by for each in found}) == 10
    assert len({(each.shared_by, each.arm) for each in found}) == 10


def test_a_new_stage_begins_with_empty_pools() -> None:
    """Else the canary's old pool would be warm, and the others cold."""
    first, second = (
        under(climbing(25.0, stage=stage)).evaluate_all(FlagContext(user_id="u"))
        for stage in (0, 1)
    )
    assert first[KEY].shared_by != second[KEY].shared_by
    assert first.digest != second.digest
    assert pool_by(first) == first[KEY].shared_by


def test_a_share_by_hand_needs_no_pools() -> None:
    """Nobody compares its arms, so each arm shares one cache."""
    snapshot = under(Split(KEY, 5.0))
    assert len({snapshot.evaluate_all(FlagContext(user_id=u)).digest for u in UNITS}) == 2
    assert pool_by(snapshot.evaluate_all(FlagContext(user_id="u"))) == ""


def missed(*, pooled: bool) -> float:
    """The canary's part of the answers that no cache had, at a share of 5 %."""
    snapshot, rng = under(climbing(5.0)), np.random.default_rng(7)
    keys = {}
    for unit in UNITS:
        made = snapshot.evaluate_all(FlagContext(user_id=unit))
        keys[unit] = (made[KEY].arm, made.digest if pooled else made[KEY].arm)
    cache, misses = set(), Counter[str | None]()
    questions = np.minimum(rng.zipf(1.3, 60_000), 5_000)
    for unit, question in zip(rng.choice(UNITS, 60_000), questions, strict=True):
        arm, shared = keys[unit]
        misses[arm] += (shared, question) not in cache
        cache.add((shared, question))
    share = sum(arm == "canary" for arm, _ in keys.values()) / len(UNITS)
    return misses["canary"] / sum(misses.values()) / share


def test_the_cache_takes_no_more_answers_from_one_arm() -> None:
    """A larger arm would warm a cache of its own sooner, and fewer of its answers would count."""
    assert missed(pooled=True) == pytest.approx(1.0, abs=0.1)
    assert missed(pooled=False) > 2.0
