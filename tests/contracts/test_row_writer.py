"""Rows behind the response: acknowledged means kept, once, on both engines."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from apps.core.errors import StorageDown, SystemFailure
from apps.core.storage import tables
from apps.core.storage.engine import Storage
from apps.core.storage.writer import Limits, Row, RowWriter

ROOT = Path(__file__).parents[2]
KILLS = 4
ACKNOWLEDGED_BEFORE_KILL = 60

WRITING_PROCESS = """
import asyncio, sys
from apps.core import settings
from apps.core.storage import tables
from apps.core.storage.engine import Storage

async def main(url, first):
    storage = await Storage.open(settings.load({}, DATABASE_URL=url))
    for n in range(first, first + 100_000, 5):
        for i in range(n, n + 5):
            storage.writer.put(tables.answer, {
                "id": str(i), "request_id": "r", "question_masked": "q",
                "body": {"n": i}, "created_at": 1.0,
            })
        await storage.writer.flush()
        print(n + 4, flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def row(number: int | str, **changed: object) -> Row:
    """An answer's row."""
    return {
        "id": str(number), "request_id": "r", "question_masked": "q", "body": {},
        "created_at": 1.0, **changed,
    }  # fmt: skip


async def ids(storage: Storage) -> list[str]:
    """The ids of all answers."""
    async with storage.reading() as s:
        return list((await s.execute(select(tables.answer.c.id))).scalars())


class Interrupted:
    """A database that is away for its first `times` units of work, before or after the commit."""

    def __init__(self, storage: Storage, times: int, *, after_commit: bool = False) -> None:
        self._storage = storage
        self._after_commit = after_commit
        self.times = times
        self.units = 0
        self.committed = asyncio.Event()

    @asynccontextmanager
    async def session(self, *, within_s):
        """A unit of work that may fail."""
        self.units += 1
        fails = self.units <= self.times
        if fails and not self._after_commit:
            raise StorageDown("away")
        async with self._storage.session(within_s=within_s) as s:
            yield s
        if fails:
            raise StorageDown("the answer to the commit got lost")
        self.committed.set()


async def test_flushed_rows_are_there(storage: Storage) -> None:
    """After a flush every row taken before it is committed."""
    for number in range(250):
        assert storage.writer.put(tables.answer, row(number))
    await storage.writer.flush()
    assert len(await ids(storage)) == 250


async def test_rows_are_committed_in_groups(storage: Storage) -> None:
    """A thousand rows need a handful of commits."""
    counted = Interrupted(storage, 0)
    writer = RowWriter(counted.session)
    writer.start()
    for number in range(1000):
        writer.put(tables.answer, row(number))
    await writer.flush()
    assert counted.units <= 10
    await writer.close()


async def test_a_few_rows_do_not_wait_for_many(storage: Storage) -> None:
    """A lonely row is committed after the group's time."""
    watched = Interrupted(storage, 0)
    writer = RowWriter(watched.session, limits=Limits(group_wait_s=0.01))
    writer.start()
    writer.put(tables.answer, row(1))
    await asyncio.wait_for(watched.committed.wait(), timeout=5)
    assert await ids(storage) == ["1"]
    await writer.close()


async def test_close_writes_what_waits(storage: Storage) -> None:
    """A graceful stop loses nothing."""
    writer = RowWriter(storage.session, limits=Limits(group_wait_s=60))
    writer.start()
    writer.put(tables.answer, row(1))
    await writer.close()
    assert await ids(storage) == ["1"]


async def test_a_full_queue_drops_and_says_so(storage: Storage) -> None:
    """Memory stays bounded: the row over the bound is refused at once."""
    writer = RowWriter(storage.session, limits=Limits(capacity=2))
    assert [writer.put(tables.answer, row(n)) for n in range(3)] == [True, True, False]
    writer.start()
    await writer.close()
    assert sorted(await ids(storage)) == ["0", "1"]


async def test_rows_wait_while_the_database_is_away(storage: Storage) -> None:
    """An outage delays rows; it does not lose them."""
    writer = RowWriter(Interrupted(storage, 2).session)
    writer.start()
    writer.put(tables.answer, row(1))
    await writer.flush()
    assert await ids(storage) == ["1"]
    await writer.close()


async def test_a_commit_without_an_answer_doubles_nothing(storage: Storage) -> None:
    """The rows are offered again and found to be there."""
    writer = RowWriter(Interrupted(storage, 1, after_commit=True).session)
    writer.start()
    for number in range(3):
        writer.put(tables.answer, row(number))
    await writer.flush()
    assert sorted(await ids(storage)) == ["0", "1", "2"]
    await writer.close()


async def test_a_flush_during_an_outage_fails_in_time(storage: Storage) -> None:
    """Nobody is told that rows are safe when they are not."""
    writer = RowWriter(Interrupted(storage, 10_000).session)
    writer.start()
    writer.put(tables.answer, row(1))
    with pytest.raises(StorageDown):
        await writer.flush(timeout_s=0.05)
    await writer.close(timeout_s=0.01)


@pytest.mark.parametrize(
    "bad",
    [
        row("bad", question_masked=None),
        row("bad", question_masked="\ud800"),
        row("bad", body={1, 2}),
        row("bad", created_at="not a number" * 2),
    ],
    ids=["null", "surrogate", "not json", "wrong type"],
)
async def test_a_bad_row_does_not_take_the_others_with_it(storage: Storage, bad: Row) -> None:
    """The database refuses one row; its neighbours are kept and the flush tells."""
    if storage.embedded and isinstance(bad["created_at"], str):
        pytest.skip("SQLite keeps any type in any column")
    for waiting in (row(1), bad, row(2)):
        storage.writer.put(tables.answer, waiting)
    with pytest.raises(SystemFailure):
        await storage.writer.flush()
    assert sorted(await ids(storage)) == ["1", "2"]
    storage.writer.put(tables.answer, row(3))
    await storage.writer.flush()
    assert sorted(await ids(storage)) == ["1", "2", "3"]


async def test_children_follow_their_parents(storage: Storage) -> None:
    """Rows of several tables keep their order, so that a foreign key finds its row."""
    for number in range(3):
        storage.writer.put(tables.answer, row(number))
        vote = {"answer_id": str(number), "caller": "c", "reward": 1.0, "labels": []}
        storage.writer.put(tables.feedback, {**vote, "created_at": 1.0})
    await storage.writer.flush()
    async with storage.reading() as s:
        assert len((await s.execute(select(tables.feedback))).all()) == 3


async def test_kill_9_loses_nothing_that_was_acknowledged(
    database_url: str, storage: Storage
) -> None:
    """A writing process dies again and again; every acknowledged row is there, once."""
    acknowledged: set[int] = set()
    for kill in range(KILLS):
        first = kill * 100_000
        last = await asyncio.to_thread(_write_until_killed, database_url, first)
        acknowledged |= set(range(first, last + 1))
    found = await ids(storage)
    assert len(found) == len(set(found))
    assert acknowledged <= {int(name) for name in found}
    assert len(acknowledged) >= KILLS * ACKNOWLEDGED_BEFORE_KILL


def _write_until_killed(url: str, first: int) -> int:
    """The last acknowledged number of a process that is killed in the middle of its work."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING_PROCESS, url, str(first)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) - first >= ACKNOWLEDGED_BEFORE_KILL:
            break
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return int(rest[-1]) if rest else int(line)
