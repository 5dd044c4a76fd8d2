"""Workers on both engines: what they run, what their files say, and which of them leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import select, text, update

from apps.core.settings import Settings
from apps.core.storage import flag_acks, flag_audit, flag_files, flag_versions, leader
from apps.core.storage.engine import Storage
from apps.core.storage.flag_acks import Ack
from apps.core.storage.flag_audit import AuditFilter, AuditRow
from apps.core.storage.flag_files import HostFile
from apps.core.storage.flag_tables import flag_leader, flag_worker_ack
from apps.core.storage.leader import leader_of
from tests.contracts import processes

NOW = 1_800_000_000.0
RACERS = 4
ACK = Ack("host:1", "host", 7, ("debate_mode",))
FILE = HostFile("host", "envfile", "a" * 64, {"debate_mode": "false"}, NOW)

REPORTING_PROCESS = """
from apps.core.storage import flag_files
from apps.core.storage.flag_files import HostFile

async def main(storage, name):
    print("ready", flush=True)
    input()
    said = []
    for n in range(5):
        async with storage.session() as s:
            read = HostFile("host", "envfile", str(n), {"f": str(n)}, float(n))
            said.append(await flag_files.record(s, read, actor=name, now=1.0))
    print(sum(said))

run(main)
"""

LEADING_PROCESS = """
from apps.core.storage.leader import leader_of

async def main(storage, name):
    mine = leader_of(storage, name)
    print("ready", flush=True)
    input()
    print("leads" if await mine.hold() else "follows", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print("leads" if await mine.hold() else "follows", flush=True)
    await mine.release()

run(main)
"""


async def put(storage: Storage, *acks: Ack) -> None:
    """Committed acknowledgements."""
    for ack in acks:
        async with storage.session() as s:
            await flag_acks.put(s, ack)


async def live(storage: Storage) -> list[Ack]:
    """Everybody who was heard of."""
    async with storage.reading() as s:
        return await flag_acks.live(s)


async def age(storage: Storage, worker_id: str, seconds: float) -> None:
    """Let a worker have been silent."""
    async with storage.session() as s:
        mine = update(flag_worker_ack).where(flag_worker_ack.c.worker_id == worker_id)
        await s.execute(mine.values(at=flag_worker_ack.c.at - seconds))


async def audit(storage: Storage) -> list[AuditRow]:
    """Every audit row, the oldest first."""
    async with storage.reading() as s:
        assert (await flag_audit.verify(s)).ok
        return list(reversed(await flag_audit.listed(s, AuditFilter())))


async def record(storage: Storage, read: HostFile) -> bool:
    """A committed report."""
    async with storage.session() as s:
        return await flag_files.record(s, read, actor="host:1", now=NOW + 9)


async def test_the_last_word_of_each_worker_counts(storage: Storage) -> None:
    """One row a worker, with the vetoes of its environment."""
    other = Ack("host:2", "host", 7)
    await put(storage, replace(ACK, version=6, env_vetoes=()), ACK, other)
    assert await live(storage) == [ACK, other]


async def test_a_late_ack_does_not_go_back(storage: Storage) -> None:
    """Two acknowledgements that overtake each other leave the newer version."""
    await put(storage, ACK, replace(ACK, version=6))
    assert await live(storage) == [ACK]


async def test_a_silent_worker_leaves_and_may_come_back(storage: Storage) -> None:
    """Fifteen seconds by the database's clock."""
    await put(storage, ACK)
    await age(storage, ACK.worker_id, 14)
    assert await live(storage) == [ACK]
    await age(storage, ACK.worker_id, 2)
    assert await live(storage) == []
    await put(storage, ACK)
    assert await live(storage) == [ACK]


async def test_a_worker_that_stops_is_removed(storage: Storage) -> None:
    """At once by itself, later by others."""
    other = Ack("host:2", "host", 7)
    await put(storage, ACK, other)
    await age(storage, other.worker_id, 100)
    async with storage.session() as s:
        await flag_acks.remove(s, ACK.worker_id)
        assert await flag_acks.forget_silent(s, silent_s=101) == 0
        assert await flag_acks.forget_silent(s, silent_s=99) == 1
    assert await live(storage) == []


async def test_an_ack_is_no_change_of_flags(storage: Storage) -> None:
    """Workers that answer do not make workers reload."""
    await put(storage, ACK)
    async with storage.reading() as s:
        assert (await flag_versions.read(s)).version == 0
    assert await audit(storage) == []


async def test_a_file_is_audited_once_a_host_and_content(storage: Storage) -> None:
    """Every worker reports it; the first leaves the row."""
    assert await record(storage, FILE)
    assert not await record(storage, FILE)
    assert await record(storage, replace(FILE, host="other"))
    changed = replace(FILE, sha256="b" * 64, content={"debate_mode": "true"}, changed_at=NOW + 1)
    assert await record(storage, changed)
    rows = await audit(storage)
    assert [row.evidence["host"] for row in rows] == ["host", "other", "host"]
    assert (rows[0].before, rows[0].after) == (None, {"debate_mode": "false"})
    assert (rows[2].before, rows[2].after) == ({"debate_mode": "false"}, {"debate_mode": "true"})
    assert (rows[2].source, rows[2].actor, rows[2].at) == ("envfile", "host:1", NOW + 9)


async def test_a_file_that_goes_back_is_a_change(storage: Storage) -> None:
    """A, B, A are three changes, but a worker that still reports B makes none."""
    b = replace(FILE, sha256="b" * 64, content={}, changed_at=NOW + 1)
    again = replace(FILE, changed_at=NOW + 2)
    found = [await record(storage, read) for read in (FILE, b, again, b, FILE)]
    assert found == [True, True, True, False, False]


async def test_a_comment_in_a_file_is_no_change(storage: Storage) -> None:
    """What counts is what it says of flags; the KILL file is another file."""
    await record(storage, FILE)
    assert not await record(storage, replace(FILE, sha256="c" * 64, changed_at=NOW + 1))
    assert not await record(storage, replace(FILE, source="killfile", content={}))
    assert await record(storage, replace(FILE, source="killfile", content={"*": "killed"}))
    assert [row.source for row in await audit(storage)] == ["envfile", "killfile"]


async def test_racing_workers_report_a_file_once(database_url: str, storage: Storage) -> None:
    """Four workers of one host see five contents: five rows, in order."""
    each = [(database_url, f"w{n}") for n in range(RACERS)]
    said = processes.race(REPORTING_PROCESS, each)
    rows = await audit(storage)
    assert sum(map(int, said)) == len(rows)
    assert [row.after["f"] for row in rows] == sorted({row.after["f"] for row in rows})
    assert rows[-1].after == {"f": "4"}


@pytest.fixture
async def others(
    database_url: str, make_settings: Callable[..., Settings]
) -> AsyncIterator[list[Storage]]:
    """Four storages of one database, as four workers have."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(RACERS):
            one = await Storage.open(make_settings(DATABASE_URL=database_url))
            stack.push_async_callback(one.close)
            opened.append(one)
        yield opened


async def test_one_worker_leads_and_keeps_the_lead(others: list[Storage]) -> None:
    """Of four at the same moment one; asking again changes nothing; a release passes it on."""
    claims = [leader_of(one, f"w{n}") for n, one in enumerate(others)]
    first = await asyncio.gather(*(claim.hold() for claim in claims))
    assert sorted(first) == [False] * (RACERS - 1) + [True]
    for _ in range(2):
        assert list(await asyncio.gather(*(claim.hold() for claim in claims))) == list(first)
    await claims[first.index(True)].release()
    heirs = [claim for claim, led in zip(claims, first, strict=True) if not led]
    assert sorted(await asyncio.gather(*(claim.hold() for claim in heirs))) == [False, False, True]
    for claim in claims:
        await claim.release()


async def test_a_release_without_the_lead_takes_it_from_nobody(others: list[Storage]) -> None:
    """A follower that stops leaves the leader alone."""
    mine, follower = leader_of(others[0], "a"), leader_of(others[1], "b")
    assert await mine.hold()
    await follower.release()
    assert not await follower.hold()
    await follower.release()
    assert not await follower.hold()
    assert await mine.hold()
    await follower.release()
    await mine.release()


async def test_of_racing_processes_one_leads_until_it_is_killed(
    database_url: str, storage: Storage
) -> None:
    """SIGKILL frees the lock: at once on PostgreSQL, on SQLite when the lease has run out."""
    racing = [processes.start(LEADING_PROCESS, database_url, f"w{n}") for n in range(RACERS)]
    try:
        said = await asyncio.to_thread(_ask_all, racing, skip=1)
        assert sorted(said) == ["follows"] * (RACERS - 1) + ["leads"]
        victim = racing.pop(said.index("leads"))
        victim.kill()
        await asyncio.to_thread(victim.communicate)
        await _bury(storage)
        said = await asyncio.to_thread(_ask_all, racing)
        assert sorted(said) == ["follows"] * (RACERS - 2) + ["leads"]
    finally:
        for process in racing:
            await asyncio.to_thread(process.communicate)


def _ask_all(racing: list, *, skip: int = 0) -> list[str]:
    for process in racing:
        for _ in range(skip):
            process.stdout.readline()
    for process in racing:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.stdout.readline().strip() for process in racing]


async def _bury(storage: Storage) -> None:
    """Wait until the server knows of the death, or let the lease run out."""
    if storage.embedded:
        async with storage.session() as s:
            late = flag_leader.c.lease_until - leader.LEASE_S
            await s.execute(update(flag_leader).values(lease_until=late))
        return
    held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    async with asyncio.timeout(30):
        while True:
            async with storage.reading() as s:
                if (await s.execute(held)).scalar_one() == 0:
                    return


async def test_a_lease_lasts_five_seconds_of_the_database(storage: Storage) -> None:
    """SQLite: as long as it runs nobody else leads, afterwards anybody."""
    if not storage.embedded:
        pytest.skip("PostgreSQL has no lease")
    mine, other = leader_of(storage, "a"), leader_of(storage, "b")
    assert await mine.hold()
    for seconds, taken in ((4.0, False), (1.1, True)):
        async with storage.session() as s:
            late = flag_leader.c.lease_until - seconds
            await s.execute(update(flag_leader).values(lease_until=late))
        assert await other.hold() is taken
    assert not await mine.hold()
    async with storage.reading() as s:
        assert (await s.execute(select(flag_leader.c.holder))).scalar_one() == "b"


async def test_a_lost_connection_loses_the_lead(others: list[Storage]) -> None:
    """PostgreSQL: the server ends the session, another leads, the old one notices."""
    if others[0].embedded:
        pytest.skip("SQLite has no connection to lose")
    mine, other = leader_of(others[0], "a"), leader_of(others[1], "b")
    assert await mine.hold()
    holder = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
    async with others[2].session() as s:
        await s.execute(text(f"SELECT pg_terminate_backend(pid) FROM ({holder}) AS held"))
    await _bury(others[2])
    assert await other.hold()
    assert not await mine.hold()
    assert not await mine.hold()
    await other.release()
    assert await mine.hold()
    await mine.release()


async def test_nobody_leads_without_a_database(
    make_settings: Callable[..., Settings], database_url: str, tmp_path
) -> None:
    """An outage is no lead and no error; the tick just does nothing."""
    if database_url.startswith("sqlite"):
        url = f"sqlite+aiosqlite:///{tmp_path}/not/migrated"
        (tmp_path / "not" / "migrated").mkdir(parents=True)
    else:
        url = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
    away = await Storage.open(make_settings(DATABASE_URL=url))
    claim = leader_of(away, "a")
    assert not await claim.hold()
    await claim.release()
    await away.close()
