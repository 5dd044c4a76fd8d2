"""Experiments on both engines: begun and ended by people, compared at any time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apps.core.domain.flags import Exposed
from apps.core.errors import BusinessFailure, NotFound, Unprocessable
from apps.core.flags.arms import ArmRecorder
from apps.core.flags.arms_outcome import Outcome
from apps.core.flags.experiments import ExperimentAdmin, WantedExperiment
from apps.core.flags.presets import policy_from
from apps.core.flags.spent import class_of, highest
from apps.core.flags.thresholds import ENOUGH, Thresholds
from apps.core.storage import answers, flags, rollout_counts
from apps.core.storage.engine import Storage
from apps.core.storage.rollout_counts import Batch, Cell, Tally, Unit, Vote
from tests.contracts.rollout_scene import KEY, Scene
from tests.core.flags.arms import PEPPER
from tests.fakes.flags import rolled_out

WANTED = WantedExperiment(
    KEY, {"on": 1, "off": 3}, percent=40.0, primary="error", guardrails=("quality",)
)


@pytest.fixture
def scene(storage: Storage) -> Scene:
    return Scene(storage)


@pytest.fixture
def experiments(scene: Scene) -> ExperimentAdmin:
    return ExperimentAdmin(scene.storage, scene.clock)


async def begin(experiments: ExperimentAdmin, scene: Scene) -> str:
    """A running experiment."""
    made = await experiments.create(WANTED, cause=scene.cause())
    await experiments.start(made["id"], cause=scene.cause())
    scene.rollout_id = str(made["id"])
    return scene.rollout_id


async def count(scene: Scene, arm: str, *, units: int, bad: int, scores: np.ndarray) -> None:
    """Units of one variant, as workers report them."""
    row, now = await scene.row(), scene.clock.now()
    place = (row.id, row.epoch)
    names = [f"{scene.units + n:032x}" for n in range(units)]
    scene.units += units
    votes = [Vote(*place, "error", name, 0, arm, now) for name in names[:bad]]
    votes += [
        Vote(*place, "quality", name, 0, arm, now, float(score))
        for name, score in zip(names, scores, strict=True)
    ]
    tallies = {Cell(*place, 0, "error", arm): Tally(n=units, total=float(bad))}
    seen = [Unit(*place, name, 0, arm, now) for name in names]
    async with scene.storage.session() as s:
        await rollout_counts.merge(s, Batch(tallies, seen, votes))


async def test_a_worse_variant_is_named(experiments: ExperimentAdmin, scene: Scene) -> None:
    """More errors and lower scores than the first arm; the split is as it was wanted."""
    which = await begin(experiments, scene)
    rng = np.random.default_rng(3)
    for _ in range(10):
        await count(scene, "off", units=150, bad=2, scores=rng.beta(8, 2, 150))
        await count(scene, "on", units=50, bad=6, scores=rng.beta(6, 4, 50))
    found = await experiments.get(which)
    assert [(arm["arm"], arm["weight"], arm["units"]) for arm in found["results"]] == [
        ("off", 3, 1500),
        ("on", 1, 500),
    ]
    by_metric = {each["metric"]: each for each in found["comparisons"]}
    assert {each["verdict"] for each in by_metric.values()} == {"worse"}
    assert by_metric["error"]["relative_risk"]["low"] > 1
    assert by_metric["quality"]["difference"]["high"] < 0
    assert found["srm_E"] < found["srm_threshold"]


async def test_what_the_operator_chose_is_told(experiments: ExperimentAdmin, scene: Scene) -> None:
    """The primary metric first, the guardrails it harms by name, and what the arms spent."""
    which = await begin(experiments, scene)
    rng = np.random.default_rng(5)
    for _ in range(10):
        await count(scene, "off", units=150, bad=2, scores=rng.beta(8, 2, 150))
        await count(scene, "on", units=50, bad=1, scores=rng.beta(5, 5, 50))
    found = await experiments.get(which)
    assert (found["primary"], found["guardrails"]) == ("error", ["quality"])
    assert [each["role"] for each in found["comparisons"]] == ["primary", "guardrail"]
    assert found["conclusions"] == [
        {"arm": "on", "against": "off", "verdict": "undecided", "harmed": ["quality"]}
    ]
    assert found["results"][0]["means"] == {"duration_ms": None, "tokens": None}
    assert set(found["results"][0]["metrics"]) == {"error", "quality"}


async def test_slow_and_cost_get_their_limits(experiments: ExperimentAdmin, scene: Scene) -> None:
    """Frozen once from answers without the flag, as in a rollout; else they never count."""
    made = await experiments.create(WantedExperiment(KEY, {"on": 1, "off": 1}), cause=scene.cause())
    await experiments.start(made["id"], cause=scene.cause())
    scene.rollout_id = made["id"]
    async with scene.storage.session() as s:
        for n in range(ENOUGH):
            await answers.put(s, answer_of(n, at=scene.clock.now()))
    await scene.tick()
    assert (await scene.row()).tau == {"slow": 95.0, "cost": 10.0}


async def test_searches_get_the_limit_of_who_is_compared_with(
    experiments: ExperimentAdmin, scene: Scene
) -> None:
    """Searches are not stored, so without it `slow` would never count in an experiment of them."""
    which = await begin(experiments, scene)
    row, recorder = await scene.row(), ArmRecorder(scene.clock, PEPPER, rolled_out())
    for n in range(ENOUGH):
        for arm, spent_ms in (("off", 4.0), ("on", 900.0)):
            met = Exposed(KEY, arm, "search", which, row.epoch, 0, f"{n:032x}", sticky=True)
            end = Outcome((met,), "r", scene.clock.now(), route="search", duration_ms=spent_ms)
            recorder.finish(end)
    await recorder.flush(scene.storage)
    found = Thresholds(scene.storage)
    policy = policy_from({"metrics": [{"name": "slow"}]})
    await found.freeze(row, policy, now=scene.clock.now())
    assert (await scene.row()).tau == {"slow_search": highest(class_of(4.0))}


def answer_of(n: int, *, at: float) -> answers.StoredAnswer:
    """A stored answer without the flag that took one ms more than the one before."""
    body = {
        "decision": {"flags": {KEY: {"on": False}}},
        "timings_ms": {"total": float(n + 1)},
        "usage": {"input_tokens": 8, "output_tokens": 2},
    }
    return answers.StoredAnswer(f"a{n}", f"r{n}", None, "q", body, at)


async def test_equal_variants_stay_undecided(experiments: ExperimentAdmin, scene: Scene) -> None:
    """The same scores in both arms decide nothing, also before there are any."""
    which = await begin(experiments, scene)
    empty = await experiments.get(which)
    assert empty["comparisons"][0]["relative_risk"] == {"low": 0.0, "high": None}
    rng = np.random.default_rng(4)
    await count(scene, "off", units=300, bad=3, scores=rng.beta(8, 2, 300))
    await count(scene, "on", units=100, bad=1, scores=rng.beta(8, 2, 100))
    found = await experiments.get(which)
    assert {each["verdict"] for each in found["comparisons"]} == {"undecided"}


async def test_only_people_end_it(experiments: ExperimentAdmin, scene: Scene) -> None:
    """The controller leaves a harmful one alone; a stop keeps its result."""
    which = await begin(experiments, scene)
    await count(scene, "off", units=150, bad=1, scores=np.full(150, 0.9))
    await count(scene, "on", units=50, bad=49, scores=np.full(50, 0.1))
    assert await scene.tick() == []
    assert (await scene.row()).state == "RUNNING"
    stopped = await experiments.stop(which, cause=scene.cause())
    assert stopped["state"] == "STOPPED"
    assert (await experiments.get(which))["results"][1]["units"] == 50
    with pytest.raises(BusinessFailure):
        await experiments.stop(which, cause=scene.cause())
    assert [each["id"] for each in await experiments.every()] == [which]


async def test_a_kill_ends_it(experiments: ExperimentAdmin, scene: Scene) -> None:
    """The flag is off for everybody, so the attempt is over."""
    await begin(experiments, scene)
    async with scene.storage.session() as s:
        await flags.kill(s, KEY, cause=scene.cause())
    await scene.tick()
    assert (await scene.row()).state == "KILLED"


@pytest.mark.parametrize("arms", [{"on": 1}, {"on": 0, "off": 1}, {"on": 1, "none": 1}])
async def test_arms_that_cannot_be(
    experiments: ExperimentAdmin, scene: Scene, arms: dict[str, int]
) -> None:
    """Fewer than two, without weight, or no variant of the flag."""
    with pytest.raises(Unprocessable):
        await experiments.create(WantedExperiment(KEY, arms), cause=scene.cause())
    with pytest.raises(NotFound):
        await experiments.get("ro_none")


@pytest.mark.parametrize(
    "wrong",
    [{"primary": "happiness"}, {"guardrails": ("units",)}, {"bucket_by": ("shoe",)}],
)
async def test_what_nobody_measures(
    experiments: ExperimentAdmin, scene: Scene, wrong: dict[str, Any]
) -> None:
    """A metric or a unit that no request has."""
    wanted = WantedExperiment(KEY, {"on": 1, "off": 1}, **wrong)
    with pytest.raises(Unprocessable):
        await experiments.create(wanted, cause=scene.cause())
