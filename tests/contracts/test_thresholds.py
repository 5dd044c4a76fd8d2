"""The limits of a stage on both engines: where they come from, that they stay, who is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from apps.core.flags.presets import policy_from
from apps.core.flags.rollout_rows import attempt_of, policy_of
from apps.core.flags.spent import class_of, highest
from apps.core.flags.store import FlagStore
from apps.core.flags.thresholds import AGAIN_S, ENOUGH, Thresholds, limits, spent_without
from apps.core.settings import Settings
from apps.core.storage import answers, rollout_counts
from apps.core.storage.answers import StoredAnswer
from apps.core.storage.engine import Storage
from apps.core.storage.rollout_counts import Batch, Cell, Tally
from apps.core.storage.rollout_spent import class_cell
from apps.core.storage.rollouts import Rollout
from tests.contracts.rollout_scene import KEY, Scene

METRICS = [{"name": "error"}, {"name": "slow"}, {"name": "cost"}]
POLICY = {"stages": [50, 75, 100], "metrics": METRICS}


@pytest.fixture
async def scene(storage: Storage) -> Scene:
    made = Scene(storage)
    await made.begin(POLICY)
    return made


class Freezer:
    """Asks for limits as the controller does, a while after the last time."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.limits = Thresholds(scene.storage)

    async def __call__(self) -> dict[str, float]:
        self.scene.clock.pass_s(AGAIN_S)
        row = await self.scene.row()
        await self.limits.freeze(row, policy_of(row), now=self.scene.clock.now())
        return dict((await self.scene.row()).tau or {})


def answered(duration_ms: float, **more: object) -> dict[str, Any]:
    """The body of an answer that the flag did not touch."""
    return {
        "decision": {"flags": {KEY: {"on": False}}},
        "timings_ms": {"total": duration_ms},
        "usage": {"input_tokens": 30, "output_tokens": 10},
        "served_by": "primary",
        "mode": "answer",
        **more,
    }


async def keep(scene: Scene, bodies: list[Mapping[str, Any]]) -> None:
    async with scene.storage.session() as s:
        for number, body in enumerate(bodies):
            name = f"{number}-{scene.clock.now()}"
            await answers.put(s, StoredAnswer(name, name, None, "?", body, scene.clock.now()))


async def took(row: Rollout, scene: Scene, limit: str, value: float, count: int) -> None:
    """Requests of the control, as a worker counts them."""
    place = Cell(row.id, attempt_of(row), row.stage_idx, "", "control")
    cell = class_cell(place, limit, class_of(value))
    async with scene.storage.session() as s:
        await rollout_counts.merge(s, Batch({cell: Tally(n=count)}))


async def test_a_stage_begins_with_the_limits_of_stored_answers(scene: Scene) -> None:
    """The 95th percentile of what the flag did not touch; too few say nothing."""
    freeze = Freezer(scene)
    await keep(scene, [answered(float(n)) for n in range(1, ENOUGH)])
    assert await freeze() == {}
    await keep(scene, [answered(float(ENOUGH))])
    assert await freeze() == {"slow": 95.0, "cost": 40.0}


@pytest.mark.parametrize(
    "other",
    [
        answered(1.0, decision={"flags": {KEY: {"on": True}}}),
        answered(1.0, decision={"flags": {}}),
        answered(1.0, served_by="cache"),
        answered(1.0, mode="search"),
        answered(1.0, timings_ms={}),
    ],
    ids=["touched", "unknown", "cached", "list", "untimed"],
)
def test_other_answers_do_not_move_a_limit(other: dict[str, Any]) -> None:
    """Those that no arm would count are left out."""
    assert spent_without(KEY, other) is None
    assert spent_without(KEY, answered(1.0)) is not None
    assert limits([]) == {}


async def test_the_controls_own_requests_come_first(scene: Scene) -> None:
    """They have met the node, and are no answers from before."""
    row, freeze = await scene.row(), Freezer(scene)
    await keep(scene, [answered(10.0)] * ENOUGH)
    await took(row, scene, "slow", 500.0, ENOUGH)
    assert await freeze() == {"slow": highest(class_of(500.0)), "cost": 40.0}


async def test_searches_wait_for_their_own_limit(scene: Scene) -> None:
    """It comes beside those that are frozen, which stay; a new stage has it at once."""
    row, freeze = await scene.row(), Freezer(scene)
    await keep(scene, [answered(300.0)] * ENOUGH)
    first = await freeze()
    await took(row, scene, "slow_search", 4.0, ENOUGH - 1)
    await took(row, scene, "slow", 9_000.0, ENOUGH)
    assert await freeze() == first
    await took(row, scene, "slow_search", 4.0, 1)
    both = await freeze()
    assert both == {**first, "slow_search": highest(class_of(4.0))}
    await scene.admin.promote(scene.rollout_id, cause=scene.cause(), force=True)
    assert (await scene.row()).tau is None
    assert (await freeze())["slow_search"] == both["slow_search"]


async def test_what_nobody_compares_has_no_limit(storage: Storage) -> None:
    """A policy without the metric asks for nothing."""
    scene = Scene(storage)
    row = await scene.begin({"metrics": [{"name": "error"}]})
    await took(row, scene, "slow", 1.0, ENOUGH)
    assert await Freezer(scene)() == {}


async def test_a_limit_is_asked_for_only_now_and_then(scene: Scene) -> None:
    """Looking at answers each second would cost the worker that leads too much."""
    row, found = await scene.row(), Thresholds(scene.storage)
    policy, now = policy_from(POLICY), scene.clock.now()
    assert await found.freeze(row, policy, now=now) is None
    await took(row, scene, "slow", 1.0, ENOUGH)
    assert await found.freeze(row, policy, now=now + AGAIN_S - 1) is None
    assert await found.freeze(row, policy, now=now + AGAIN_S) is not None


async def test_every_worker_judges_by_the_frozen_limits(
    scene: Scene, make_settings: Callable[..., Settings]
) -> None:
    """From the row through the snapshot, exactly, with the version that tells of it."""
    row = await scene.row()
    await took(row, scene, "slow", 123.0, ENOUGH)
    store = FlagStore(make_settings(), clock=scene.clock)
    store.attach(scene.storage)
    before = await store.reload()
    frozen = await Freezer(scene)()
    assert await store.reload() > before
    assert dict(store.snapshot.world.rollouts[KEY].tau) == frozen == {
        "slow": highest(class_of(123.0))
    }  # fmt: skip
    await store.detach()


async def test_a_new_attempt_has_no_limits(scene: Scene) -> None:
    """Neither the old ones nor what the old attempt's control took."""
    row, freeze = await scene.row(), Freezer(scene)
    await took(row, scene, "slow", 123.0, ENOUGH)
    assert await freeze() != {}
    await scene.admin.roll_back(scene.rollout_id, cause=scene.cause())
    await scene.admin.start(scene.rollout_id, cause=scene.cause(), force=True)
    assert await freeze() == {}
