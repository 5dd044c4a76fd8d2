"""Flags in SQL on both engines: one version, one audit row, nothing for a change of nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from apps.core.errors import BusinessFailure, NotFound, VersionConflict
from apps.core.storage import changes, flag_audit, flag_versions, flags, rollout_moves, rollouts
from apps.core.storage.engine import Session, Storage
from apps.core.storage.flag_audit import AuditFilter, AuditRow, Cause
from apps.core.storage.flags import FlagTable, FlagWish
from apps.core.storage.rollouts import RolloutWish
from tests.contracts import processes

KEY = "debate_mode"
ME = Cause("key:abc", "rest", 1_800_000_000.0, "토론 시험")
ROBOT = Cause("controller", "controller", 1_800_000_001.0)
DEFINITION = {"state": "ENABLED", "variants": {"on": True, "off": False}}
WISH = FlagWish(
    definition=DEFINITION,
    default_variant="off",
    owner="answers",
    expires_at=1_900_000_000.0,
)
RACERS = 4

Change = Callable[[Session], Awaitable[object]]

PUTTING_PROCESS = """
from apps.core.storage import flags
from apps.core.storage.flag_audit import Cause
from apps.core.storage.flags import FlagWish
from apps.core.errors import VersionConflict

async def main(storage, owner):
    print("ready", flush=True)
    input()
    try:
        async with storage.session() as s:
            await flags.put(
                s, "debate_mode", FlagWish(owner=owner), cause=Cause(owner, "cli", 1.0), if_match=0
            )
        print("won")
    except VersionConflict:
        print("lost")

run(main)
"""


async def do(storage: Storage, change: Change) -> object:
    """One unit of work."""
    async with storage.session() as s:
        return await change(s)


async def table(storage: Storage) -> FlagTable:
    """All flags as a worker reads them."""
    async with storage.reading() as s:
        return await flags.load_flags(s)


async def audit(storage: Storage) -> list[AuditRow]:
    """Every audit row, the oldest first."""
    async with storage.reading() as s:
        return list(reversed(await flag_audit.listed(s, AuditFilter())))


async def topic(storage: Storage) -> int:
    """The version that workers watch."""
    watch = await changes.open_watch(storage.url)
    version = watch.version(flag_versions.TOPIC)
    await watch.close()
    return version


async def put(storage: Storage, wish: FlagWish = WISH, **options: object) -> flags.StoredFlag:
    """A committed put."""
    async with storage.session() as s:
        return await flags.put(s, KEY, wish, cause=ME, **options)


async def test_an_empty_database_has_version_zero(storage: Storage) -> None:
    """A worker can load before anybody has written."""
    assert await table(storage) == FlagTable(0, False, (), ())


async def test_a_flag_comes_back_as_it_was_put(storage: Storage) -> None:
    """Definition, default, owner and expiry survive, and the table carries the new version."""
    stored = await put(storage)
    assert stored.wish == WISH
    assert await table(storage) == FlagTable(1, False, (stored,), ())


async def test_each_change_moves_both_versions_and_leaves_one_row(storage: Storage) -> None:
    """Create, change, kill, unkill, kill all, and delete: one of each, in this order."""
    steps: list[Change] = [
        lambda s: flags.put(s, KEY, WISH, cause=ME),
        lambda s: flags.patch(s, KEY, lambda w: replace(w, default_variant="on"), cause=ME),
        lambda s: flags.kill(s, KEY, cause=ME),
        lambda s: flags.unkill(s, KEY, cause=ME),
        lambda s: flag_versions.kill_all(s, on=True, cause=ME),
        lambda s: flag_versions.kill_all(s, on=False, cause=ME),
        lambda s: flags.remove(s, KEY, cause=ME),
    ]
    for number, step in enumerate(steps, start=1):
        await do(storage, step)
        assert ((await table(storage)).version, await topic(storage)) == (number, number)
        assert [row.id for row in await audit(storage)] == list(range(1, number + 1))
    rows = await audit(storage)
    assert rows[0].before is None
    assert [facts["default_variant"] for facts in (rows[1].before, rows[1].after)] == ["off", "on"]
    assert [row.after["killed"] for row in rows[2:4]] == [True, False]
    assert [row.after for row in rows[4:]] == [{"kill_all": True}, {"kill_all": False}, None]
    assert {(row.actor, row.source, row.reason) for row in rows} == {
        ("key:abc", "rest", "토론 시험")
    }


async def test_a_change_of_nothing_leaves_no_trace(storage: Storage) -> None:
    """Neither the version nor the audit moves when the wish is already true."""
    first = await put(storage)
    steps: list[Change] = [
        lambda s: flags.put(s, KEY, WISH, cause=ME, if_match=first.version),
        lambda s: flags.patch(s, KEY, lambda wish: wish, cause=ME),
        lambda s: flags.unkill(s, KEY, cause=ME),
        lambda s: flag_versions.kill_all(s, on=False, cause=ME),
        lambda s: flags.remove(s, "nothing", cause=ME),
    ]
    for step in steps:
        await do(storage, step)
    await do(storage, lambda s: flags.kill(s, KEY, cause=ME))
    await do(storage, lambda s: flags.kill(s, KEY, cause=replace(ME, actor="other")))
    assert ((await table(storage)).version, await topic(storage)) == (2, 2)
    assert len(await audit(storage)) == 2


async def test_one_is_not_true(storage: Storage) -> None:
    """Python calls 1 and True equal; a flag's variants do not."""
    await put(storage, FlagWish(definition={"variants": {"on": True}}))
    await put(storage, FlagWish(definition={"variants": {"on": 1}}))
    assert (await table(storage)).flags[0].wish.definition["variants"]["on"] is not True
    assert len(await audit(storage)) == 2


async def test_an_outdated_version_changes_nothing(storage: Storage) -> None:
    """If-Match: who has not seen the present version is told, and 0 means "not there yet"."""
    first = await put(storage, if_match=0)
    second = await put(storage, replace(WISH, owner="b"), if_match=first.version)
    for stale in (0, first.version, second.version + 1):
        with pytest.raises(VersionConflict):
            await put(storage, replace(WISH, owner="c"), if_match=stale)
        with pytest.raises(VersionConflict):
            await do(storage, lambda s, v=stale: flags.remove(s, KEY, cause=ME, if_match=v))
    assert (await table(storage)).flags == (second,)
    assert len(await audit(storage)) == 2


async def test_a_version_never_returns(storage: Storage) -> None:
    """Whoever saw a flag before it was deleted and made again has not seen this one."""
    first = await put(storage)
    await do(storage, lambda s: flags.remove(s, KEY, cause=ME))
    await put(storage)
    with pytest.raises(VersionConflict):
        await put(storage, replace(WISH, owner="c"), if_match=first.version)


async def test_a_kill_works_for_a_flag_that_sql_does_not_know(storage: Storage) -> None:
    """The row then has no opinion but the kill; ending it leaves a flag that says nothing."""
    killed = await do(storage, lambda s: flags.kill(s, KEY, cause=ME))
    assert (killed.killed, killed.killed_by, killed.wish) == (True, "key:abc", FlagWish())
    after = await do(storage, lambda s: flags.unkill(s, KEY, cause=ME))
    assert (after.killed, after.killed_by) == (False, None)
    assert after.wish.default_variant is None


async def test_a_put_does_not_end_a_kill(storage: Storage) -> None:
    """A new definition of a killed flag leaves it killed."""
    await do(storage, lambda s: flags.kill(s, KEY, cause=ME))
    assert (await put(storage)).killed


async def test_only_people_end_a_kill(storage: Storage) -> None:
    """The automatic actor may kill, never the reverse; an unknown flag is not found."""
    await do(storage, lambda s: flags.kill(s, KEY, cause=ROBOT))
    with pytest.raises(BusinessFailure):
        await do(storage, lambda s: flags.unkill(s, KEY, cause=ROBOT))
    with pytest.raises(NotFound):
        await do(storage, lambda s: flags.unkill(s, "nothing", cause=ME))


@pytest.mark.parametrize(
    "moved",
    [
        {"salt": "s2"},
        {"hash_version": "v3"},
        {"definition": {**DEFINITION, "variants": {"on": 1, "off": 0}}},
        {"definition": {**DEFINITION, "variants": {"off": False, "other": True}}},
    ],
)
async def test_a_cohort_cannot_move_under_a_rollout(storage: Storage, moved: dict) -> None:
    """Salt, hash version and variants are fixed, and the flag stays, until the rollout ends."""
    await put(storage)
    async with storage.session() as s:
        draft = await rollouts.create(s, RolloutWish(KEY, (5.0, 100.0), "s1"), cause=ME)
        running = await rollout_moves.start(s, draft, cause=ME, alpha=0.01)
    with pytest.raises(BusinessFailure):
        await put(storage, replace(WISH, **moved))
    with pytest.raises(BusinessFailure):
        await do(storage, lambda s: flags.remove(s, KEY, cause=ME))
    other_rules = {**DEFINITION, "targeting": {"if": [True, "on"]}}
    await put(storage, replace(WISH, owner="b", definition=other_rules))
    await do(storage, lambda s: rollout_moves.roll_back(s, running, cause=ROBOT))
    assert (await put(storage, replace(WISH, **moved))).wish == replace(WISH, **moved)


async def test_a_change_that_is_rolled_back_was_never_there(storage: Storage) -> None:
    """Row, version, audit and notification are one unit of work."""
    with pytest.raises(KeyError):
        async with storage.session() as s:
            await flags.put(s, KEY, WISH, cause=ME)
            raise KeyError
    assert await table(storage) == FlagTable(0, False, (), ())
    assert (await audit(storage), await topic(storage)) == ([], 0)


async def test_a_load_sees_one_state(storage: Storage) -> None:
    """A change between two of the queries of a load is not half seen."""
    async with storage.reading() as s:
        assert (await flag_versions.read(s)).version == 0
        await put(storage)
        assert await flags.load_flags(s) == FlagTable(0, False, (), ())


async def test_of_racing_writers_with_the_same_version_one_wins(
    database_url: str, storage: Storage
) -> None:
    """Four processes create the same flag under If-Match: one row, one audit row."""
    each = [(database_url, f"owner-{number}") for number in range(RACERS)]
    said = processes.race(PUTTING_PROCESS, each)
    assert sorted(said) == ["lost"] * (RACERS - 1) + ["won"]
    winner = f"owner-{said.index('won')}"
    assert [flag.wish.owner for flag in (await table(storage)).flags] == [winner]
    assert [row.actor for row in await audit(storage)] == [winner]
