"""The change watch on both engines: at once, never backwards, and through an outage."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import asyncpg
import pytest

from apps.core.errors import StorageDown
from apps.core.storage import changes, postgres_watch
from apps.core.storage.changes import SqliteWatch
from apps.core.storage.connections import driver_url
from apps.core.storage.engine import Storage
from apps.core.storage.postgres_watch import PostgresWatch
from apps.core.storage.tables import change


async def bump(storage: Storage, topic: str) -> int:
    """One committed change."""
    async with storage.session() as s:
        return await changes.bump(s, topic)


async def test_versions_count_from_one(storage: Storage) -> None:
    """Each topic has its own count."""
    assert [await bump(storage, "keys"), await bump(storage, "keys")] == [1, 2]
    assert await bump(storage, "flags") == 1


async def test_a_topic_that_never_changed_is_at_zero(storage: Storage) -> None:
    """Nothing need be written before a topic can be watched."""
    watch = await changes.open_watch(storage.url)
    assert watch.version("keys") == 0
    await watch.close()


async def test_a_committed_change_is_seen(storage: Storage) -> None:
    """After a refresh the watch knows every change that was committed before it."""
    watch = await changes.open_watch(storage.url)
    for expected in (1, 2, 3):
        await bump(storage, "keys")
        await watch.refresh()
        assert watch.version("keys") == expected
    assert watch.version("flags") == 0
    await watch.close()


async def test_a_change_is_not_seen_before_its_commit(storage: Storage) -> None:
    """Nobody acts on what may still be rolled back."""
    watch = await changes.open_watch(storage.url)
    with pytest.raises(KeyError):
        async with storage.session() as s:
            await changes.bump(s, "keys")
            await watch.refresh()
            assert watch.version("keys") == 0
            raise KeyError
    await watch.refresh()
    assert watch.version("keys") == 0
    await watch.close()


async def test_concurrent_bumps_are_all_counted(storage: Storage) -> None:
    """No two changes share a version."""
    found = await asyncio.gather(*(bump(storage, "keys") for _ in range(20)))
    assert sorted(found) == list(range(1, 21))


async def test_the_age_is_that_of_the_last_answer(storage: Storage) -> None:
    """A watch that was just answered is young."""
    watch = await changes.open_watch(storage.url)
    await watch.refresh()
    watch.version("keys")
    assert watch.age_s() < 5
    await watch.close()


async def test_sqlite_is_seen_without_a_refresh(sqlite_url: str, make_settings) -> None:
    """The next question after the commit has the new version."""
    storage = await Storage.open(make_settings(DATABASE_URL=sqlite_url))
    watch = await changes.open_watch(storage.url)
    assert isinstance(watch, SqliteWatch)
    for expected in range(1, 20):
        await bump(storage, "keys")
        assert watch.version("keys") == expected
    await watch.close()
    await storage.close()


def test_a_locked_file_is_answered_from_memory(tmp_path: Path) -> None:
    """A question that cannot be asked costs little, keeps the last answer, and ages it."""
    path = str(tmp_path / "locked.db")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE change (topic TEXT, version INTEGER)")
    other.execute("INSERT INTO change VALUES ('keys', 7)")
    watch = SqliteWatch(path)
    assert watch.version("keys") == 7
    other.execute("BEGIN EXCLUSIVE")
    answered_at = time.monotonic() - watch.age_s()
    assert watch.version("keys") == 7
    assert time.monotonic() - watch.age_s() == pytest.approx(answered_at, abs=1e-3)
    other.close()
    asyncio.run(watch.close())


@pytest.mark.pg
async def test_a_notification_needs_no_poll(
    postgres_url: str, make_settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL tells of a change; nobody has to ask."""
    monkeypatch.setattr(postgres_watch, "POLL_S", 600)
    storage = await Storage.open(make_settings(DATABASE_URL=postgres_url))
    watch = await changes.open_watch(storage.url)
    await bump(storage, "keys")
    async with asyncio.timeout(5):
        while watch.version("keys") == 0:  # noqa: ASYNC110 - the watch has no event to wait for
            await asyncio.sleep(0.001)
    await watch.close()
    await storage.close()


@pytest.mark.pg
async def test_a_poll_needs_no_notification(postgres_url: str, make_settings) -> None:
    """A change whose notification was lost is found by the next poll."""
    storage = await Storage.open(make_settings(DATABASE_URL=postgres_url))
    watch = await changes.open_watch(storage.url)
    async with storage.session() as s:
        await s.execute(change.insert().values(topic="keys", version=5))
    async with asyncio.timeout(5):
        while watch.version("keys") == 0:  # noqa: ASYNC110 - the watch has no event to wait for
            await asyncio.sleep(0.01)
    await watch.close()
    await storage.close()


@pytest.mark.pg
async def test_a_lost_connection_is_opened_again(postgres_url: str, make_settings) -> None:
    """The server ends every connection; versions stay, and the next change is seen."""
    storage = await Storage.open(make_settings(DATABASE_URL=postgres_url))
    await bump(storage, "keys")
    watch = await changes.open_watch(storage.url)
    assert isinstance(watch, PostgresWatch)
    other = await asyncpg.connect(driver_url(storage.url))
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()
    assert watch.version("keys") == 1
    await bump(storage, "keys")
    async with asyncio.timeout(5):
        while watch.version("keys") == 1:  # noqa: ASYNC110 - the watch has no event to wait for
            await asyncio.sleep(0.01)
    await watch.close()
    await storage.close()


async def test_a_server_that_is_away_leaves_versions_at_zero() -> None:
    """A start without a database is possible; asking for certainty is not."""
    url = changes.URL.create("postgresql+asyncpg", "nobody", host="127.0.0.1", port=1, database="n")
    watch = await changes.open_watch(url)
    assert watch.version("keys") == 0
    with pytest.raises(StorageDown):
        await watch.refresh()
    await watch.close()
