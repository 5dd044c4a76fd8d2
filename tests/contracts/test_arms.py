"""The recorder of arms against both engines: what the controller will read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from apps.api.frozen import frozen, thawed
from apps.core.domain.models import AnswerRequest
from apps.core.errors import StorageDown
from apps.core.flags import arms
from apps.core.flags.evaluation import Evaluation
from apps.core.flags.spent import class_of
from apps.core.storage import (
    flag_exposures,
    rollout_counts,
    rollout_recent,
    rollout_spent,
    rollouts,
)
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause
from apps.core.storage.rollout_counts import Cell, Tally
from apps.core.storage.rollout_recent import Moments
from apps.core.storage.rollouts import RolloutWish
from tests.core.flags.arms import PEPPER, Desk, half

NOW = 1_700_000_000.0


@pytest.fixture
async def desk(storage: Storage) -> Desk:
    """A recorder for a stored rollout."""
    async with storage.session() as s:
        wish = RolloutWish("debate_mode", (50.0, 100.0), "s1")
        made = await rollouts.create(s, wish, cause=Cause("me", "cli", NOW))
    return Desk(half(made.id))


def place(desk: Desk, metric: str, arm: str) -> Cell:
    """A counter of the first stage."""
    return Cell(str(desk.flags.snapshot.world.rollouts["debate_mode"].id), 1, 0, metric, arm)


async def counted(desk: Desk, storage: Storage) -> dict[tuple[str, str], Tally]:
    """Metric and arm to their counters, after a flush."""
    await desk.arms.flush(storage)
    rollout_id = place(desk, "", "").rollout_id
    async with storage.reading() as s:
        found = await rollout_counts.tallies(s, rollout_id, 1)
    return {(cell.metric, cell.arm): tally for cell, tally in found.items()}


async def recent(desk: Desk, storage: Storage, *, window_s: float = 60.0) -> dict[str, Moments]:
    """The last moments as the controller reads them."""
    async with storage.reading() as s:
        return await rollout_recent.moments(
            s,
            place(desk, "", "").rollout_id,
            1,
            now=desk.clock.now(),
            window_s=window_s,
            silence_s=600.0,
        )


async def test_both_arms_get_their_counts(desk: Desk, storage: Storage) -> None:
    """Requests in `n`, bad ones in `total`, votes in `bad`; durations and scores as sums."""
    (one, two), (other,) = desk.users("canary", 2), desk.users("control", 1)
    for user in (one, one, two):
        desk.ended(desk.exposed(user), error=user == one, duration_ms=200.0, quality=0.5)
    desk.ended(desk.exposed(other), duration_ms=50.0, tokens=51, quality=1.0)
    found = await counted(desk, storage)
    assert found["error", "canary"] == Tally(n=3, bad=1, total=2.0)
    assert found["error", "control"] == Tally(n=1)
    assert found["slow", "canary"] == Tally(n=3, bad=2, total=3.0)
    assert found["duration_ms", "canary"] == Tally(n=3, total=600.0, total_sq=120_000.0)
    assert found["cost", "control"] == Tally(n=1, bad=1, total=1.0)
    assert found["quality", "canary"] == Tally(n=2, total=1.0, total_sq=0.5)
    assert found["units", "canary"] == Tally(n=2)
    assert found["units", "control"] == Tally(n=1)


async def test_a_retry_votes_once_whatever_lies_between(desk: Desk, storage: Storage) -> None:
    """Within a flush, after it, and after this worker was replaced."""
    (user,) = desk.users("canary", 1)
    for _ in range(2):
        desk.ended(desk.exposed(user), error=True)
        await desk.arms.flush(storage)
    desk.arms = arms.ArmRecorder(desk.clock, PEPPER, desk.flags)
    desk.ended(desk.exposed(user), error=True)
    assert (await counted(desk, storage))["error", "canary"] == Tally(n=3, bad=1, total=3.0)
    assert (await counted(desk, storage))["units", "canary"] == Tally(n=1)


async def test_a_unit_is_counted_when_it_meets_the_flag(desk: Desk, storage: Storage) -> None:
    """Requests of a slow canary end later; counted by their ends the split would look uneven."""
    for user in desk.users("canary", 2):
        desk.exposed(user)
    desk.exposed(None, "r-of-nobody")
    found = await counted(desk, storage)
    units = {arm: found.get(("units", arm), Tally()).n for arm in ("canary", "control")}
    assert (sum(units.values()), units["canary"] >= 2) == (3, True)
    assert {metric for metric, _ in found} == {"units"}


async def test_a_request_that_was_left_counts_only_as_slow(desk: Desk, storage: Storage) -> None:
    """And only past the limit; it enters neither durations nor the last moments."""
    (user,) = desk.users("canary", 1)
    desk.ended(desk.exposed(user), duration_ms=99.0, left=True)
    assert ("slow", "canary") not in await counted(desk, storage)
    desk.ended(desk.exposed(user), duration_ms=101.0, left=True)
    found = await counted(desk, storage)
    assert found["slow", "canary"] == Tally(n=1, bad=1, total=1.0)
    assert set(found) == {("slow", "canary"), ("units", "canary")}
    assert (await recent(desk, storage)).get("canary", Moments()).requests == 0


async def test_what_the_control_takes_is_kept_by_route(desk: Desk, storage: Storage) -> None:
    """In classes, of the control only; they are no metrics."""
    (one,), (other,) = desk.users("canary", 1), desk.users("control", 1)
    for user in (one, other, other):
        desk.ended(desk.exposed(user), duration_ms=200.0, tokens=0)
        desk.ended(desk.exposed(user), route="search", duration_ms=2.0)
    assert not {metric for metric, _ in await counted(desk, storage) if ":" in metric}
    where = place(desk, "", "")
    async with storage.reading() as s:
        kept = await rollout_spent.classes(s, where.rollout_id, 1, arm="control")
        assert await rollout_spent.classes(s, where.rollout_id, 2, arm="control") == {}
    assert kept == {
        "slow": {class_of(200.0): 2},
        "slow_search": {class_of(2.0): 2},
        "cost": {class_of(0.0): 2},
    }


async def test_a_request_without_a_user_is_only_counted(desk: Desk, storage: Storage) -> None:
    """It is its own unit: counted, with votes, but without a row of its own."""
    for number in range(20):
        request_id = f"r{number}"
        desk.ended(desk.exposed(None, request_id), request_id, error=True)
    found = await counted(desk, storage)
    units = found["units", "canary"].n + found["units", "control"].n
    assert units == found["error", "canary"].bad + found["error", "control"].bad == 20
    async with storage.reading() as s:
        assert (await s.execute(text("SELECT count(*) FROM flag_unit"))).scalar_one() == 0


@pytest.mark.parametrize("wish", [True, False, None])
async def test_who_is_excluded_meets_no_arm(
    desk: Desk, storage: Storage, *, wish: bool | None
) -> None:
    """Property 12 of the design: overridden and synthetic requests appear in no arm."""
    (user,) = desk.users("canary", 1)
    overrides = {} if wish is None else {"debate_mode": wish}
    assert desk.exposed(user, overrides=overrides, synthetic=wish is None) is None
    assert await counted(desk, storage) == {}


async def test_layers_above_the_rollout_meet_no_arm(desk: Desk) -> None:
    """A kill, a veto, and a rule that names the user are no chance."""
    (user,) = desk.users("canary", 1)
    for changed in ({"kill_all": True}, {"environment": {"debate_mode": "false"}}):
        desk.flags.snapshot = desk.flags.snapshot.changed(**changed)
        assert desk.exposed(user) is None


async def test_a_share_set_by_hand_is_sampled_but_not_counted(desk: Desk, storage: Storage) -> None:
    """It has no statistics, yet its exposures can be looked into."""
    desk = Desk(half(None, epoch=None, stage=None))
    for user in desk.users("canary", 9):
        desk.ended(desk.exposed(user), error=True)
    assert await counted(desk, storage) == {}
    await storage.writer.flush()
    async with storage.reading() as s:
        kept = await flag_exposures.listed(s, "debate_mode")
    assert len(kept) == arms.SAMPLED
    assert {(one.node, one.arm, one.rollout_id) for one in kept} == {
        ("debate_mode", "canary", None)
    }


async def test_limits_of_another_stage_do_not_count(desk: Desk, storage: Storage) -> None:
    """A request that began before a promotion is not compared with the new limits."""
    (user,) = desk.users("canary", 1)
    met = desk.exposed(user)
    before = place(desk, "slow", "canary")
    moved = half(before.rollout_id, stage=1)
    desk.flags.snapshot = desk.flags.snapshot.changed(rollouts={"debate_mode": moved})
    desk.ended(met, duration_ms=1e6, error=True)
    found = await counted(desk, storage)
    assert ("slow", "canary") not in found
    assert found["error", "canary"] == Tally(n=1, bad=1, total=1.0)


async def test_thumbs_down_finds_its_arm(desk: Desk, storage: Storage) -> None:
    """Rated answers in `n`, and one vote a unit."""
    (user,) = desk.users("control", 1)
    met = desk.exposed(user)
    assert met is not None
    for bad in (True, True, False):
        desk.arms.feedback([met], bad=bad)
    found = await counted(desk, storage)
    assert found["feedback", "control"] == Tally(n=3, bad=1, total=2.0)


async def test_a_late_thumb_counts_where_the_answer_was_given(desk: Desk, storage: Storage) -> None:
    """Of the stage and arm that chance drew for the answer, whatever stage runs by then."""
    (user,) = desk.users("canary", 1)
    met = desk.exposed(user)
    assert met is not None
    moved = half(str(met.rollout), stage=1)
    desk.flags.snapshot = desk.flags.snapshot.changed(rollouts={"debate_mode": moved})
    desk.arms.feedback([met], bad=True)
    desk.arms.feedback([met], bad=True)
    await desk.arms.flush(storage)
    async with storage.reading() as s:
        log = await rollout_counts.votes(s, str(met.rollout), 1, metrics=("feedback",))
    assert [(vote.stage_idx, vote.arm) for _, vote in log] == [(0, "canary")]


async def test_the_last_moments_are_read_by_anybody(desk: Desk, storage: Storage) -> None:
    """A window of the canary's requests, bad ones and fatal events; control units of longer."""
    (bad,), calm = desk.users("canary", 1), desk.users("control", 3)
    for user in (*calm, calm[0]):
        desk.ended(desk.exposed(user))
    desk.clock.pass_s(300)
    desk.ended(desk.exposed(calm[0]), duration_ms=1e6)
    for _ in range(2):
        desk.ended(desk.exposed(bad), error=True, text="010-7391-4826")
    await desk.arms.flush(storage)
    found = await recent(desk, storage)
    at = desk.clock.now()
    assert found["canary"] == Moments(2, 2, {"error": 2, "pii_miss": 2}, 1, at)
    assert found["control"] == Moments(1, 0, {"slow": 1}, 3, at)
    desk.clock.pass_s(3500)
    later = await recent(desk, storage)
    assert later["control"] == Moments(last_at=later["control"].last_at)
    assert at <= (later["control"].last_at or 0.0) <= at + rollout_recent.SLOT_S
    async with storage.session() as s:
        assert await rollout_recent.forget_before(s, desk.clock.now()) == 6
    assert await recent(desk, storage) == {}
    assert len(await counted(desk, storage)) > 0


class Away:
    """A storage that breaks before or in its commit."""

    def __init__(self, storage: Storage, *, committed: bool) -> None:
        self.writer = storage.writer
        self._storage = storage
        self._committed = committed

    @asynccontextmanager
    async def session(self, *, within_s: float) -> AsyncIterator[Session]:
        if not self._committed:
            raise StorageDown("gone")
        async with self._storage.session(within_s=within_s) as s:
            yield s
        raise StorageDown("gone in the commit")


@pytest.mark.parametrize("committed", [False, True])
async def test_a_failed_flush_is_tried_again_and_counts_once(
    desk: Desk, storage: Storage, *, committed: bool
) -> None:
    """Also when the database has in truth kept what it seemed to lose."""
    (user,) = desk.users("canary", 1)
    desk.ended(desk.exposed(user), error=True)
    with pytest.raises(StorageDown):
        await desk.arms.flush(Away(storage, committed=committed))  # type: ignore[arg-type]
    found = await counted(desk, storage)
    assert found["error", "canary"] == Tally(n=1, bad=1, total=1.0)
    assert found["units", "canary"] == Tally(n=1)


async def test_the_last_counts_are_merged_at_the_end(desk: Desk, storage: Storage) -> None:
    """A worker that is asked to stop hands over what it has."""
    (user,) = desk.users("canary", 1)
    running = asyncio.create_task(desk.arms.run(storage))
    await asyncio.sleep(0)
    desk.ended(desk.exposed(user))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    desk.arms = arms.ArmRecorder(desk.clock, PEPPER, desk.flags)
    assert (await counted(desk, storage))["error", "canary"] == Tally(n=1)


async def test_prometheus_knows_flags_and_arms_only(desk: Desk, storage: Storage) -> None:
    """Exposures, bad events and units by closed labels."""
    names = ("dtrag_flag_exposures", "dtrag_rollout_bad", "dtrag_rollout_units")
    before = [_sample(name) for name in names]
    (user,) = desk.users("canary", 1)
    for _ in range(2):
        desk.ended(desk.exposed(user), error=True)
    await desk.arms.flush(storage)
    assert [_sample(name) - old for name, old in zip(names, before, strict=True)] == [2, 2, 1]


async def test_a_run_that_is_taken_over_is_exposed_once(desk: Desk, storage: Storage) -> None:
    """The first worker died after it met the flag; the second meets it again for the same unit."""
    asked = AnswerRequest("q", request_id="r", decisions=desk.evaluation(None, "r"))
    kept = thawed(frozen(asked, pepper=PEPPER))
    for _ in range(2):
        desk.arms = arms.ArmRecorder(desk.clock, PEPPER, desk.flags)
        evaluation = Evaluation.of(kept.decisions or {})
        desk.arms.expose(evaluation, "debate_mode", node="debate_mode", request_id="r")
        found = await counted(desk, storage)
    assert sum(found.get(("units", arm), Tally()).n for arm in ("canary", "control")) == 1


def _sample(name: str) -> float:
    labels = {"flag": "debate_mode", "arm": "canary"}
    more = {"metric": "error"} if name.endswith("bad") else {}
    return REGISTRY.get_sample_value(f"{name}_total", labels | more) or 0.0
