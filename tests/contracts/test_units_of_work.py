"""A unit of work is kept whole or not at all, on both engines."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from apps.core.errors import StorageDown
from apps.core.settings import Settings
from apps.core.storage import tables
from apps.core.storage.connections import BUSY_TIMEOUT_S
from apps.core.storage.engine import Session, Storage, insert

change = tables.change


async def _put(s: Session, topic: str, version: int = 1) -> None:
    await s.execute(change.insert().values(topic=topic, version=version))


async def _count(storage: Storage) -> int:
    async with storage.reading() as s:
        return int((await s.execute(select(func.count()).select_from(change))).scalar_one())


async def test_a_normal_exit_commits(storage: Storage) -> None:
    """What was written in a unit of work is there afterwards."""
    async with storage.session() as s:
        await _put(s, "a")
    assert await _count(storage) == 1


async def test_an_error_rolls_back(storage: Storage) -> None:
    """Nothing of a unit of work that failed is kept, and the error arrives as it was."""
    with pytest.raises(KeyError):
        async with storage.session() as s:
            await _put(s, "a")
            raise KeyError
    assert await _count(storage) == 0


async def test_a_cancelled_unit_rolls_back_and_leaves_the_pool_usable(storage: Storage) -> None:
    """A caller that leaves in the middle neither commits nor holds the writer."""
    inside = asyncio.Event()

    async def work() -> None:
        async with storage.session() as s:
            await _put(s, "a")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with storage.session() as s:
        await _put(s, "b")
    assert await _count(storage) == 1


async def test_a_reading_unit_cannot_write(storage: Storage) -> None:
    """A write in a reading unit is a programming error on both engines, never an outage."""
    with pytest.raises(DBAPIError):
        async with storage.reading() as s:
            await _put(s, "a")


async def test_a_reader_does_not_wait_for_a_writer(storage: Storage) -> None:
    """While a unit of work is open, others read the state before it."""
    async with storage.session() as s:
        await _put(s, "a")
        assert await _count(storage) == 0
    assert await _count(storage) == 1


async def test_read_then_write_units_do_not_lose_updates_when_serialised(storage: Storage) -> None:
    """Thirty concurrent increments in the database end at thirty."""
    async with storage.session() as s:
        await _put(s, "n", 0)

    async def add() -> None:
        async with storage.session() as s:
            await s.execute(change.update().values(version=change.c.version + 1))

    await asyncio.gather(*(add() for _ in range(30)))
    async with storage.reading() as s:
        assert (await s.execute(select(change.c.version))).scalar_one() == 30


async def test_insert_speaks_on_conflict_in_both_dialects(storage: Storage) -> None:
    """One statement builder serves both engines."""
    async with storage.session() as s:
        for _ in range(2):
            statement = insert(s, change).values(topic="a", version=1)
            await s.execute(statement.on_conflict_do_nothing())
    assert await _count(storage) == 1


async def test_ping_is_silent_when_all_is_well(storage: Storage) -> None:
    """A database that answers raises nothing."""
    await storage.ping()


async def test_json_comes_back_as_it_went_in(storage: Storage) -> None:
    """Korean text, nesting and numbers survive a JSON column."""
    body = {"b": ["딥러닝", 1, 1.5, None, True], "a": {"z": 1}}
    row = {"id": "1", "request_id": "r", "question_masked": "q", "body": body, "created_at": 1.0}
    async with storage.session() as s:
        await s.execute(tables.answer.insert().values(row))
    async with storage.reading() as s:
        assert (await s.execute(select(tables.answer.c.body))).scalar_one() == body


async def test_a_statement_that_is_alone_is_kept(storage: Storage) -> None:
    """It is its own transaction, and the next unit of work is a whole one again."""
    async with storage.session(alone=True) as s:
        await _put(s, "a")
    with pytest.raises(KeyError):
        async with storage.session() as s:
            await _put(s, "b")
            raise KeyError
    assert await _count(storage) == 1


async def test_who_waits_waits_no_longer_than_the_limit(
    storage: Storage, database_url: str, make_settings: Callable[..., Settings]
) -> None:
    """Another process holds the lock; the unit gives up in time and others may wait as before."""
    other = await Storage.open(make_settings(DATABASE_URL=database_url))
    async with storage.session() as s:
        await _put(s, "a")
    began_s = time.monotonic()
    async with other.session() as held:
        await held.execute(change.update().values(version=2))
        with pytest.raises(StorageDown):
            async with storage.session(within_s=0.2) as s:
                await s.execute(change.update().values(version=3))
    assert time.monotonic() - began_s < BUSY_TIMEOUT_S - 1
    async with storage.session() as s:
        await s.execute(change.update().values(version=3))
    await other.close()


async def test_sqlite_is_down_without_its_file(
    sqlite_url: str, make_settings: Callable[..., Settings]
) -> None:
    """It neither goes on in a file that was moved away nor begins an empty one in its place."""
    storage = await Storage.open(make_settings(DATABASE_URL=sqlite_url))
    async with storage.session() as s:
        await _put(s, "a")
    file = storage.url.database or ""
    shutil.move(file, f"{file}.away")
    with pytest.raises(StorageDown):
        await _count(storage)
    shutil.move(f"{file}.away", file)  # nothing stands in its place
    assert await _count(storage) == 1
    await storage.close()
