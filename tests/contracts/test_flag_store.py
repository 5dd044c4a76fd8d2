"""The flags of a process on both engines: newest at the next request, last known without SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from apps.core.domain.flags import Exposed
from apps.core.errors import StorageDown
from apps.core.flags.acks import wait_for
from apps.core.flags.arms import ArmRecorder
from apps.core.flags.arms_outcome import Outcome
from apps.core.flags.catalogue import HostWord
from apps.core.flags.node_watch import FAILURES, NodeSign
from apps.core.flags.signs import as_workers_say, kills_of, nodes_of
from apps.core.flags.store import FlagStore
from apps.core.flags.upkeep import STALE_S, Upkeep
from apps.core.settings import Settings
from apps.core.storage import flag_acks, flag_audit, flag_versions, flags, rollout_moves, rollouts
from apps.core.storage.changes import Watch, open_watch
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import AuditFilter, Cause
from apps.core.storage.flags import FlagWish
from apps.core.storage.rollouts import RolloutWish
from tests.fakes.clock import FakeClock

CAUSE = Cause("mira", "rest", 1_700_000_000.0)
DEFINITION = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
ON = FlagWish(definition=DEFINITION, default_variant="on")
CIRCLE = {**DEFINITION, "metadata": {"prerequisites": "reranker"}}


@pytest.fixture
async def watch(storage: Storage) -> AsyncIterator[Watch]:
    opened = await open_watch(storage.url)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(
    make_settings: Callable[..., Settings], storage: Storage, watch: Watch, clock: FakeClock
) -> FlagStore:
    """Attached and read once."""
    made = FlagStore(make_settings(), clock=clock)
    made.attach(storage, watch)
    await made.load()
    return made


class Away:
    """A database that does not answer."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.asked = 0

    def moved_to(self) -> int:
        return self._watch.version(flag_versions.TOPIC) + 1

    async def load(self) -> None:
        self.asked += 1
        raise StorageDown("away")

    version = load


async def put(storage: Storage, key: str, wish: FlagWish = ON) -> int:
    async with storage.session() as s:
        return (await flags.put(s, key, wish, cause=CAUSE)).version


def layer(store: FlagStore, key: str = "debate_mode") -> tuple[bool, str]:
    made = store.evaluate_all(None)[key]
    return made.on, made.layer


async def test_a_change_counts_at_the_next_request(
    store: FlagStore, storage: Storage, watch: Watch
) -> None:
    """Whoever is admitted after the commit is decided by it."""
    assert layer(store) == (False, "CODE")
    version = await put(storage, "debate_mode")
    await watch.refresh()
    await store.fresh()
    assert (layer(store), store.snapshot.version) == ((True, "SQL_DEFAULT"), version)


async def test_a_flag_that_only_sql_knows_is_decided(store: FlagStore, storage: Storage) -> None:
    """Operators may define flags for their own extensions."""
    await put(storage, "their_own")
    await store.reload()
    assert layer(store, "their_own") == (True, "SQL_DEFAULT")


async def test_a_rollout_serves_its_share(store: FlagStore, storage: Storage) -> None:
    """Its row becomes the randomised layer, and after its end it counts nobody."""
    async with storage.session() as s:
        wish = RolloutWish("debate_mode", (100.0,), salt="s1")
        row = await rollouts.create(s, wish, cause=CAUSE)
    async with storage.session() as s:
        row = await rollout_moves.start(s, row, cause=CAUSE, alpha=0.01)
    await store.reload()
    assert row is not None
    served = store.snapshot.world.rollouts["debate_mode"]
    assert (served.id, served.epoch, served.percent, served.counts) == (row.id, 1, 100.0, True)
    async with storage.session() as s:
        await rollout_moves.kill(s, row, cause=CAUSE)
    await store.reload()
    served = store.snapshot.world.rollouts["debate_mode"]
    assert (served.percent, served.counts) == (0.0, False)


async def test_nothing_is_read_without_a_change(store: FlagStore, watch: Watch) -> None:
    """A request without a change asks no table."""
    away = Away(watch)
    store.truth = away  # type: ignore[assignment]
    away.moved_to = lambda: watch.version(flag_versions.TOPIC)  # type: ignore[method-assign]
    await store.fresh()
    assert away.asked == 0


async def test_without_the_database_the_last_known_values_stay(
    store: FlagStore, storage: Storage, watch: Watch, clock: FakeClock, tmp_path: Path
) -> None:
    """No request fails or waits twice, the age is told, and the KILL file still works."""
    await put(storage, "debate_mode")
    await store.reload()
    away = store.truth = Away(watch)  # type: ignore[assignment]
    upkeep = Upkeep(store, clock)
    for _ in range(5):
        await store.fresh()
    assert away.asked == 1
    assert layer(store) == (True, "SQL_DEFAULT")
    with pytest.raises(StorageDown):
        await store.reload()
    clock.pass_s(STALE_S + 0.1)
    await upkeep.confirm()
    assert store.stale
    (tmp_path / "KILL").write_text("debate_mode\n")
    await upkeep.look()
    assert layer(store) == (False, "KILLED")
    store.attach(storage, watch)
    await upkeep.confirm()
    assert not store.stale


async def test_a_version_never_goes_back(store: FlagStore, storage: Storage) -> None:
    """What an older state of the database says is not taken in."""
    await put(storage, "debate_mode")
    await store.reload()
    store.snapshot = store.snapshot.changed(version=99)
    await put(storage, "reranker")
    await store.reload()
    assert store.snapshot.version == 99
    assert layer(store, "reranker")[1] != "SQL_DEFAULT"


async def test_definitions_in_a_circle_still_obey_a_kill(
    store: FlagStore, storage: Storage
) -> None:
    """The last good definitions stay, and the worst day's switch is not lost with the new ones."""
    await put(storage, "debate_mode")
    await store.reload()
    circle = {**DEFINITION, "metadata": {"prerequisites": "debate_mode"}}
    await put(storage, "reranker", FlagWish(definition=circle, default_variant="on"))
    await put(storage, "debate_mode", FlagWish(definition=CIRCLE, default_variant="on"))
    await store.reload()
    assert layer(store) == (True, "SQL_DEFAULT")
    async with storage.session() as s:
        await flags.kill(s, "debate_mode", cause=CAUSE)
    await store.reload()
    assert layer(store) == (False, "KILLED")


async def test_subscribers_learn_which_keys_changed(store: FlagStore, storage: Storage) -> None:
    """Once a change, until they end it."""
    told: list[frozenset[str]] = []
    end = store.subscribe(lambda _snapshot, keys: told.append(keys))
    await put(storage, "debate_mode")
    await store.reload()
    await store.reload()
    end()
    await put(storage, "reranker")
    await store.reload()
    assert told == [{"debate_mode"}]


@asynccontextmanager
async def running(store: FlagStore) -> AsyncIterator[None]:
    task = asyncio.create_task(store.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_worker_acknowledges_and_leaves(store: FlagStore, storage: Storage) -> None:
    """Its row has the version it answers with and the vetoes of its environment."""
    async with running(store):
        version = await put(storage, "debate_mode")
        found = await wait_for(storage, version, clock=FakeClock(), limit_s=5.0)
        while not found.expected or found.missing:
            await asyncio.sleep(0)
            found = await wait_for(storage, version, clock=FakeClock(), limit_s=5.0)
        assert (found.acked, found.expected, found.missing) == (1, 1, ())
    await store.detach()
    async with storage.reading() as s:
        assert await flag_acks.live(s) == []


async def test_a_host_file_is_audited_once(
    make_settings: Callable[..., Settings], storage: Storage, tmp_path: Path, clock: FakeClock
) -> None:
    """Two workers of a host read it; one row tells it, and later ones add nothing."""
    (tmp_path / "flags.env").write_text("FEATURE_DEBATE_MODE=false\n")
    for _ in range(2):
        settings = make_settings(env_file=tmp_path / "flags.env")
        store = FlagStore(settings, clock=clock)
        store.attach(storage)
        upkeep = Upkeep(store, clock)
        await upkeep.confirm()
        await upkeep.confirm()
        assert store.vetoes == ("debate_mode",)
    async with storage.reading() as s:
        rows = await flag_audit.listed(s, AuditFilter())
    assert [(row.source, row.after) for row in rows] == [("envfile", {"debate_mode": "false"})]


async def test_a_worker_reports_what_only_it_can_see(
    make_settings: Callable[..., Settings], storage: Storage, tmp_path: Path, clock: FakeClock
) -> None:
    """Words, KILL file and sick nodes, with each acknowledgement; a failing node asks for one."""
    (tmp_path / "flags.env").write_text("FEATURE_DEBATE_MODE=false\n")
    (tmp_path / "KILL").write_text("reranker\n")
    store = FlagStore(make_settings(env_file=tmp_path / "flags.env"), clock=clock)
    store.attach(storage)
    store.changed.clear()
    arms = ArmRecorder(clock, b"pepper", store, nodes=store.nodes)
    skipped = frozenset({"meta_planner"})
    for n in range(FAILURES):
        met = Exposed(
            "meta_planner", "canary", "meta_planner", "r1", 1, 0, f"{n:032x}", sticky=True
        )
        arms.finish(Outcome((met,), "r", clock.now(), skipped=skipped))
        control = replace(met, arm="control")
        arms.finish(Outcome((control,), "r", clock.now(), skipped=frozenset()))
    await arms.flush(storage)
    assert store.changed.is_set()
    await Upkeep(store, clock).acknowledge()
    async with storage.reading() as s:
        (ack,) = await flag_acks.live(s)
    assert nodes_of(ack) == [NodeSign("meta_planner", "r1", 1, FAILURES, FAILURES)]
    assert [each.host for each in kills_of("reranker", [ack])] == [store.host]
    said = as_workers_say(HostWord(), store.host, [ack])
    assert said.environment.words["debate_mode"] == "false"
    assert str(tmp_path / "flags.env") in said.environment.places["debate_mode"]
