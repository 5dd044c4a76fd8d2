"""A rollout end to end: requests over HTTP in, counters of both arms in SQLite out."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from apps.api.main import create_app
from apps.api.sql import Sql
from apps.core.flags.arms import ArmRecorder
from apps.core.flags.context import FlagContext
from apps.core.flags.node_watch import NodeWatch
from apps.core.settings import Settings
from apps.core.storage import rollout_counts, rollouts
from apps.core.storage.flag_audit import Cause
from apps.core.storage.rollout_counts import Tally
from apps.core.storage.rollouts import RolloutWish
from tests.api.conftest import serving
from tests.core.flags.arms import half
from tests.fakes.answering import FakeMemory, Stage
from tests.fakes.flags import FakeFlagStore, rolled_out
from tests.fakes.services import World

QUESTION = "서울의 인구는 몇 명인가?"
FAULT = "debate_mode=error:1"


@dataclass
class House:
    """A service over a real database and a real walk."""

    client: httpx.AsyncClient
    sql: Sql
    flags: FakeFlagStore
    arms: ArmRecorder
    rollout_id: str

    async def ask(self, user_id: str, **headers: str) -> dict[str, object]:
        """Ask as a user."""
        body = {"question": QUESTION, "user_id": user_id}
        reply = await self.client.post("/answer", json=body, headers=headers)
        assert reply.status_code == 200
        return dict(reply.json())

    async def counted(self) -> dict[tuple[str, str], Tally]:
        """Metric and arm to their counters."""
        await self.arms.flush(self.sql.storage)
        async with self.sql.storage.reading() as s:
            found = await rollout_counts.tallies(s, self.rollout_id, 1)
        return {(cell.metric, cell.arm): tally for cell, tally in found.items()}

    def users(self, arm: str, count: int) -> list[str]:
        """Users of an arm."""
        names = [f"user-{number}" for number in range(200)]
        whose = {name: self.arm_of(name) for name in names}
        return [name for name in names if whose[name] == arm][:count]

    def arm_of(self, user_id: str) -> str | None:
        """Which arm a user is in."""
        context = FlagContext(user_id=user_id)
        return self.flags.snapshot.evaluate_all(context)["debate_mode"].arm


class Forgetful(FakeMemory):
    """A cache of which nothing comes back, so that every question is a run of its own."""

    async def get(self, key: str, kind: type[Any]) -> Any:
        return None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[House]:
    """The service, with half of the users in the canary of a node that always fails."""
    world, stage = World(), Stage(memory=Forgetful(), DTRAG_FAULTS=FAULT)
    sql = await Sql.open(settings, world.clock)
    try:
        async with sql.storage.session() as s:
            wish = RolloutWish("debate_mode", (50.0, 100.0), "s1")
            made = await rollouts.create(s, wish, cause=Cause("me", "cli", world.clock.now()))
        world.flags = flags = rolled_out(half(made.id))
        world.arms = arms = sql.arms(flags, NodeWatch())
        world.stores = sql  # type: ignore[assignment]
        pipeline = replace(
            stage.pipeline,
            flags=flags,
            arms=arms,
            record=sql.record,
            rng=random.Random(7),  # an id for every answer
        )
        world.answerer = pipeline  # type: ignore[assignment]
        async with serving(create_app(settings, opening=world.opening)) as client:
            yield House(client, sql, flags, arms, made.id)
    finally:
        await sql.close()


@pytest.fixture
async def house(sqlite_url: str, make_settings: Callable[..., Settings]) -> AsyncIterator[House]:
    """See `opened`."""
    async with opened(make_settings(DATABASE_URL=sqlite_url, ENVIRONMENT="development")) as made:
        yield made


async def test_two_arms_get_their_counts(house: House) -> None:
    """A unit that asks again votes once, and only the canary's node can fail."""
    canary, control = house.users("canary", 2), house.users("control", 3)
    for user in (*canary, canary[0], canary[0], *control):
        answer = await house.ask(user)
        assert answer["degraded"] == (["debate_mode"] if user in canary else [])
    found = await house.counted()
    assert found["node_error", "canary"] == Tally(n=4, bad=2, total=4.0)
    assert found["node_error", "control"] == Tally(n=3)
    assert found["units", "canary"] == Tally(n=2)
    assert found["units", "control"] == Tally(n=3)
    assert found["error", "canary"] == Tally(n=4)
    assert found["quality", "control"].n == 3
    assert found["pii_miss", "canary"].total == 0


async def test_the_answer_tells_its_arm_and_never_its_unit(house: House) -> None:
    """The block `decision.flags` names arm, bucket and rollout; what else is kept is not sent."""
    (user,) = house.users("canary", 1)
    sent = await house.ask(user)
    made = sent["decision"]["flags"]["debate_mode"]  # type: ignore[index]
    assert {"on", "variant", "reason", "layer", "bucket", "rollout", "epoch", "stage", "arm"} == {
        *made
    }
    assert (made["arm"], made["rollout"], made["variant"]) == ("canary", house.rollout_id, "on")
    stored = (await house.client.get(f"/api/v1/answers/{sent['answer_id']}")).json()
    assert {name: stored[name] for name in sent} == sent
    assert "exposed" not in stored
    assert await house.sql.answers.exposed(str(sent["answer_id"]))


async def test_excluded_requests_are_in_no_arm(house: House) -> None:
    """Property 12 of the design, over HTTP; a cached answer is in none either."""
    (user,) = house.users("canary", 1)
    await house.ask(user, **{"X-DTRAG-Synthetic": "1"})
    await house.ask(user, **{"X-DTRAG-Flags": "debate_mode=off"})
    assert await house.counted() == {}


async def test_a_thumb_down_reaches_the_arm(house: House) -> None:
    """Through the stored answer, whoever gives it."""
    (user,) = house.users("control", 1)
    sent = await house.ask(user)
    for _ in range(2):
        body = {"answer_id": sent["answer_id"], "thumbs_up": False}
        assert (await house.client.post("/api/v1/feedback", json=body)).status_code == 202
    assert (await house.counted())["feedback", "control"] == Tally(n=2, bad=1, total=2.0)


async def test_no_user_is_stored(house: House) -> None:
    """Tables hold keyed hashes of units only."""
    (user,) = house.users("canary", 1)
    await house.ask(user)
    await house.counted()
    await house.sql.storage.writer.flush()
    async with house.sql.storage.reading() as s:
        for table in ("flag_unit", "flag_vote", "flag_exposure", "answer"):
            rows = (await s.exec_driver_sql(f"SELECT * FROM {table}")).all()
            assert rows
            assert user not in repr(rows)
