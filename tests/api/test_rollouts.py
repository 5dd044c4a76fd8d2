"""Administration of staged rollouts, over a real SQLite database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import get_args

import httpx
import pytest

from apps.api.main import create_app
from apps.api.rollout_desk import SqlExperiments, SqlRollouts
from apps.api.schemas.experiments import ExperimentResult, ExperimentsReply, MetricName
from apps.api.schemas.rollouts import RolloutDetails, RolloutDraft, RolloutsReply, StoppedReply
from apps.core.flags.experiments import KINDS
from apps.core.settings import Settings
from apps.core.storage import answers, flag_acks, flags
from apps.core.storage.answers import StoredAnswer
from apps.core.storage.engine import Storage
from apps.core.storage.flag_acks import Ack
from apps.core.storage.flag_audit import Cause
from apps.core.storage.flags import FlagWish
from tests.api.conftest import serving
from tests.fakes.services import World

ROOT = "/api/v1/admin/rollouts"
KEY = "debate_mode"


@pytest.fixture
async def people(
    world: World, settings: Settings, storage: Storage
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may change flags."""
    world.stores.rollouts = SqlRollouts(storage, world.clock)
    world.stores.experiments = SqlExperiments(storage, world.clock)
    secret = world.stores.keys.add("flags:read", "flags:write")
    async with serving(create_app(settings, opening=world.opening)) as client:
        client.headers["X-API-Key"] = secret
        yield client


async def draft(people: httpx.AsyncClient, **body: object) -> RolloutDraft:
    """A made draft."""
    made = await people.post(ROOT, json={"flag_key": KEY, **body})
    assert made.status_code == 201, made.text
    return RolloutDraft.model_validate_json(made.content)


async def test_a_draft_comes_with_a_forecast(
    people: httpx.AsyncClient, world: World, storage: Storage
) -> None:
    """Without traffic there are no times; with little, the stages exceed their caps."""
    first = await draft(people, reason="시험")
    assert (first.state, first.percent) == ("DRAFT", 0.0)
    assert first.warnings[-2].startswith("No traffic measured yet")
    assert first.forecast["per_s"] is None
    assert {stage["leave_s"] for stage in first.forecast["stages"]} == {None}
    assert all(stage["leave_requests"] for stage in first.forecast["stages"])
    now = world.clock.now()
    async with storage.session() as s:
        for number in range(20):
            stored = StoredAnswer(f"a{number}", f"r{number}", None, "q", {}, now - number)
            await answers.put(s, stored)
    second = await draft(people, stages=[10, 50, 100], policy={"auto_promote": False})
    assert len(second.forecast["stages"]) == 3
    assert "would exceed its cap" in second.warnings[0]
    assert any("Only 20 answers" in warning for warning in second.warnings)
    assert all(stage["leave_s"] > 0 for stage in second.forecast["stages"])


async def test_what_cannot_be_rolled_out_is_refused_at_once(
    people: httpx.AsyncClient, storage: Storage
) -> None:
    """A flag that nobody knows, and one that has nothing to be on; both before a draft is kept."""
    words = {"state": "ENABLED", "variants": {"a": "x", "b": "y"}, "defaultVariant": "a"}
    async with storage.session() as s:
        await flags.put(s, "words", FlagWish(words), cause=Cause("me", "cli", 1.0))
    experiments, arms = "/api/v1/admin/experiments", {"a": 1, "b": 1}
    for root, body, code in (
        (ROOT, {"flag_key": "debate_mod"}, "not_found"),
        (ROOT, {"flag_key": "words"}, "validation_error"),
        (experiments, {"flag_key": "word", "arms": arms}, "not_found"),
        (experiments, {"flag_key": "words", "arms": {"a": 1, "c": 1}}, "validation_error"),
    ):
        assert (await people.post(root, json=body)).json()["code"] == code
    assert (await people.get(ROOT)).json() == {"rollouts": []}


async def test_the_way_of_a_rollout(people: httpx.AsyncClient) -> None:
    """Made, started, paused, resumed, promoted by force, rolled back, seen and listed."""
    place = f"{ROOT}/{(await draft(people)).id}"
    assert (await people.post(f"{place}/start")).json()["state"] == "RUNNING"
    assert (await people.post(f"{place}/pause", json={})).json()["state"] == "HELD"
    assert (await people.post(f"{place}/resume", json={"reason": "ok"})).json()["percent"] == 5.0
    blocked = await people.post(f"{place}/promote", json={})
    assert (blocked.status_code, blocked.json()["code"]) == (409, "blocked")
    assert "dwell" in blocked.json()["blockers"]
    forced = await people.post(f"{place}/promote", json={"to_stage": 2, "force": True})
    assert forced.json()["percent"] == 50.0
    seen = RolloutDetails.model_validate_json((await people.get(place)).content)
    assert (seen.attempt, seen.state) == (1, "RUNNING")
    assert seen.combined_E == pytest.approx(1.0)
    assert {each.metric for each in seen.evidence} >= {"error", "slow", "quality"}
    stopped = await people.post(f"{place}/rollback?wait=1", json={"reason": "enough"})
    told = StoppedReply.model_validate_json(stopped.content)
    assert (stopped.status_code, told.state, told.expected) == (200, "ROLLED_BACK", 0)
    ended = RolloutDetails.model_validate_json((await people.get(place)).content)
    assert (ended.attempt, ended.epoch, ended.next_action.action) == (1, 2, "start")
    listed = RolloutsReply.model_validate_json((await people.get(f"{ROOT}?flag={KEY}")).content)
    assert [each.id for each in listed.rollouts] == [seen.id]
    assert (await people.post(f"{place}/pause", json={})).status_code == 409
    refused = await people.post(f"{place}/promote", json={})
    assert refused.json()["detail"].endswith("is ROLLED_BACK; it cannot promote.")


async def test_what_is_off_for_a_reason_is_not_started(
    people: httpx.AsyncClient, storage: Storage
) -> None:
    """A killed flag, and one that a host's environment forbids."""
    place = f"{ROOT}/{(await draft(people)).id}"
    async with storage.session() as s:
        await flag_acks.put(s, Ack("w1", "host-1", 1, (KEY,)))
    vetoed = await people.post(f"{place}/start", json={})
    assert vetoed.status_code == 409
    assert vetoed.json()["blocked_by"] == "env:FEATURE_DEBATE_MODE=false"
    assert vetoed.json()["hosts"] == ["host-1"]
    async with storage.session() as s:
        await flag_acks.remove(s, "w1")
        await flags.kill(s, KEY, cause=Cause("me", "cli", 1.0))
    killed = await people.post(f"{place}/start", json={})
    assert (killed.status_code, "killed" in killed.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    "body",
    [
        {"stages": [50, 10, 100]},
        {"policy": {"nonsense": 1}},
        {"policy": {"preset": "none"}},
        {"policy": {"metrics": [{"name": "units"}]}},
        {"policy": {"metrics": [{"name": "w:1"}]}},
        {"policy": {"max_stage_requests": 10**400}},
        {"holdback": 7},
    ],
)
async def test_a_ladder_that_cannot_be(people: httpx.AsyncClient, body: dict[str, object]) -> None:
    """Refused before anything is stored."""
    reply = await people.post(ROOT, json={"flag_key": KEY, **body})
    assert reply.status_code == 422
    assert (await people.get(ROOT)).json() == {"rollouts": []}


async def test_unknown_rollouts_and_missing_scopes(people: httpx.AsyncClient, world: World) -> None:
    """404 for each way to name one that is not there; reading alone may not move."""
    assert (await people.get(f"{ROOT}/none")).status_code == 404
    for verb in ("start", "pause", "resume", "promote", "rollback"):
        assert (await people.post(f"{ROOT}/none/{verb}", json={})).status_code == 404
    reader = {"X-API-Key": world.stores.keys.add("flags:read")}
    assert (await people.post(ROOT, json={"flag_key": KEY}, headers=reader)).status_code == 403
    assert (await people.get(ROOT, headers=reader)).status_code == 200


async def test_the_way_of_an_experiment(people: httpx.AsyncClient) -> None:
    """Made, started, looked at, stopped; a variant that does not exist is refused."""
    root = ROOT.replace("rollouts", "experiments")
    made = await people.post(root, json={"flag_key": KEY, "arms": {"on": 1, "off": 1}})
    assert made.status_code == 201, made.text
    place = f"{root}/{made.json()['id']}"
    assert (await people.post(f"{place}/start")).json()["state"] == "RUNNING"
    result = ExperimentResult.model_validate_json((await people.get(place)).content)
    assert {each.verdict for each in result.comparisons} == {"undecided"}
    assert (await people.post(f"{place}/stop", json={})).json()["state"] == "STOPPED"
    listed = ExperimentsReply.model_validate_json((await people.get(root)).content)
    assert [each.id for each in listed.experiments] == [result.id]
    wrong = await people.post(root, json={"flag_key": KEY, "arms": {"on": 1, "none": 1}})
    assert wrong.status_code == 422


def test_the_schema_names_every_metric_that_is_measured() -> None:
    """An operator may choose what an experiment compares, and nothing that nobody measures."""
    assert set(get_args(MetricName)) == set(KINDS)
