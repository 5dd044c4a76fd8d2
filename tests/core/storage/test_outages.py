"""What counts as an outage of the database, and what is a mistake of ours."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from apps.core.errors import StorageDown
from apps.core.settings import Settings
from apps.core.storage import connections, tables
from apps.core.storage.connections import driver_url, sqlite_engine, unit
from apps.core.storage.engine import Storage

Make = Callable[..., Settings]
ROOT = Path(__file__).parents[3]
WRITERS, UNITS = 3, 100

COUNTING_PROCESS = """
import asyncio, sys
from sqlalchemy import select
from apps.core import settings
from apps.core.storage import tables
from apps.core.storage.engine import Storage

async def main(url, units):
    storage = await Storage.open(settings.load({}, DATABASE_URL=url))
    change = tables.change
    input()
    for _ in range(units):
        async with storage.session() as s:
            (seen,) = (await s.execute(select(change.c.version))).one()
            await s.execute(change.update().values(version=seen + 1))
    await storage.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def outcome(storage: Storage, statement: str = "SELECT 1") -> type[BaseException] | None:
    """The class of what a unit of work raised."""
    try:
        async with storage.session() as s:
            await s.execute(text(statement))
    except Exception as error:
        return type(error)
    finally:
        await storage.close()
    return None


async def driver_threads_end() -> bool:
    """Whether every thread of the SQLite driver ends by itself."""
    alive = [thread for thread in threading.enumerate() if "_connection_worker" in thread.name]
    for thread in alive:
        await asyncio.to_thread(thread.join, 5)
    return not any(thread.is_alive() for thread in alive)


class TestSqlite:
    async def test_connections_are_prepared_as_promised(self, storage: Storage) -> None:
        """WAL, foreign keys, five seconds of patience; readers cannot write."""
        wanted = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": 1}
        for opened, read_only in ((storage.session, 0), (storage.reading, 1)):
            async with opened() as s:
                for name, value in {**wanted, "query_only": read_only}.items():
                    assert (await s.execute(text(f"PRAGMA {name}"))).scalar_one() == value, name

    async def test_full_durability_is_a_setting(self, sqlite_url: str, make_settings: Make) -> None:
        """SQLITE_SYNCHRONOUS=FULL waits for the disk at each commit."""
        settings = make_settings(DATABASE_URL=sqlite_url, SQLITE_SYNCHRONOUS="FULL")
        storage = await Storage.open(settings)
        async with storage.session() as s:
            assert (await s.execute(text("PRAGMA synchronous"))).scalar_one() == 2
        await storage.close()

    async def test_a_file_that_is_no_database(self, tmp_path: Path, make_settings: Make) -> None:
        """Damage is an outage, not a user's fault, and trying again leaves no thread behind."""
        (tmp_path / "bad.db").write_bytes(b"no database" * 500)
        url = f"sqlite:///{tmp_path}/bad.db"
        assert await outcome(await Storage.open(make_settings(DATABASE_URL=url))) is StorageDown
        assert await driver_threads_end()

    async def test_a_path_that_cannot_be_opened(self, tmp_path: Path, make_settings: Make) -> None:
        """A directory in the file's place is an outage."""
        (tmp_path / "dir.db").mkdir()
        url = f"sqlite:///{tmp_path}/dir.db"
        assert await outcome(await Storage.open(make_settings(DATABASE_URL=url))) is StorageDown
        assert await driver_threads_end()

    async def test_a_statement_of_ours_that_is_wrong(self, storage: Storage) -> None:
        """A missing table is a mistake and must not be retried as an outage."""
        assert await outcome(storage, "SELECT * FROM nothing") is OperationalError

    async def test_a_broken_constraint_is_no_outage(self, storage: Storage) -> None:
        """The caller decides what a conflict means."""
        statement = "INSERT INTO chunk_vector VALUES ('none', 'e', x'00')"
        assert await outcome(storage, statement) is IntegrityError

    async def test_a_lock_that_lasts(self, sqlite_url: str) -> None:
        """When patience ends the caller gets an outage that may be tried again."""
        path = make_url(sqlite_url).database or ""
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        engine = sqlite_engine(make_url(sqlite_url), busy_timeout_s=0.02)
        with pytest.raises(StorageDown) as raised:
            async with unit(engine):
                pass
        assert raised.value.retry_after_s is not None
        other.close()
        async with unit(engine) as s:
            await s.execute(text("SELECT 1"))
        await engine.dispose()

    async def test_a_full_disk(self, storage: Storage) -> None:
        """What does not fit is an outage, and nothing of the unit is kept."""
        with pytest.raises(StorageDown):
            async with storage.session() as s:
                await s.execute(text("PRAGMA max_page_count = 1"))
                row = {"topic": "t", "version": 1}
                await s.execute(tables.change.insert().values(row))
                answer = {"id": "1", "request_id": "r", "body": {}, "created_at": 1.0}
                answer["question_masked"] = "x" * 1_000_000
                await s.execute(tables.answer.insert().values(answer))
        async with storage.reading() as s:
            assert (await s.execute(select(tables.change))).all() == []

    async def test_no_free_connection(self, sqlite_url: str) -> None:
        """A pool that is used up is an outage, in time."""
        engine = sqlite_engine(make_url(sqlite_url), wait_s=0.02)
        async with unit(engine):
            with pytest.raises(StorageDown):
                async with unit(engine):
                    pass
        await engine.dispose()

    async def test_processes_that_read_then_write_take_turns(
        self, sqlite_url: str, storage: Storage
    ) -> None:
        """No deadlock, no lost update: each unit takes the write lock before it reads."""
        async with storage.session() as s:
            await s.execute(tables.change.insert().values(topic="n", version=0))
        command = [sys.executable, "-W", "error", "-c", COUNTING_PROCESS, sqlite_url, str(UNITS)]
        pipe = asyncio.subprocess.PIPE
        starts = (
            asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe) for _ in range(WRITERS)
        )
        processes = await asyncio.gather(*starts)
        await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert [process.returncode for process in processes] == [0] * WRITERS
        async with storage.reading() as s:
            total = (await s.execute(select(tables.change.c.version))).scalar_one()
        assert total == WRITERS * UNITS


class TestPostgres:
    pytestmark = pytest.mark.pg

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://nobody@127.0.0.1:1/none",
            "postgresql://nobody@/none?host=/nonexistent",
            "postgresql://nobody@127.0.0.1:1/none?sslmode=require",
        ],
        ids=["refused", "no socket", "refused with tls"],
    )
    async def test_no_server(self, url: str, make_settings: Make) -> None:
        """Nobody listens."""
        assert await outcome(await Storage.open(make_settings(DATABASE_URL=url))) is StorageDown

    async def test_no_such_database(self, postgres_url: str, make_settings: Make) -> None:
        """The server is there, the database is not."""
        url = str(make_url(postgres_url).set(database="nothing"))
        assert await outcome(await Storage.open(make_settings(DATABASE_URL=url))) is StorageDown

    async def test_a_connection_that_ends_in_the_middle(
        self, postgres_url: str, make_settings: Make
    ) -> None:
        """The server restarts while a unit of work is under way."""
        storage = await Storage.open(make_settings(DATABASE_URL=postgres_url))
        ended = "SELECT pg_terminate_backend(pg_backend_pid())"
        assert await outcome(storage, ended) is StorageDown

    async def test_the_pool_recovers_by_itself(
        self, postgres_url: str, make_settings: Make
    ) -> None:
        """Connections that died while they were idle are replaced unseen."""
        storage = await Storage.open(make_settings(DATABASE_URL=postgres_url))
        await storage.ping()
        other = await asyncpg.connect(driver_url(storage.url))
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await other.close()
        await storage.ping()
        await storage.close()

    async def test_a_statement_of_ours_that_is_wrong(
        self, postgres_url: str, make_settings: Make
    ) -> None:
        """A missing table and a value of the wrong type are mistakes, not outages."""
        for statement in ("SELECT * FROM nothing", "SELECT 1 / 0"):
            storage = await Storage.open(make_settings(DATABASE_URL=postgres_url))
            found = await outcome(storage, statement)
            assert found is not None
            assert issubclass(found, DBAPIError)

    async def test_a_wrong_argument_is_no_outage(
        self, postgres_url: str, make_settings: Make
    ) -> None:
        """asyncpg calls it an interface error, which otherwise means a lost connection."""
        storage = await Storage.open(make_settings(DATABASE_URL=postgres_url))
        with pytest.raises(DBAPIError):
            async with storage.session() as s:
                row = {"topic": "t", "version": "text"}
                await s.execute(tables.change.insert().values(row))
        await storage.close()


def test_both_spellings_of_tls_are_one() -> None:
    """libpq says `sslmode`, SQLAlchemy says `ssl`."""
    url = make_url("postgresql+asyncpg://u:p%40@h/d?sslmode=require&x=1")
    assert driver_url(url) == "postgresql://u:p%40@h/d?sslmode=require&x=1"
    renamed = connections._renamed(url, "sslmode", "ssl")
    assert renamed.query == {"ssl": "require", "x": "1"}
    assert driver_url(renamed).count("sslmode=require") == 1


async def test_a_database_that_hangs_does_not_answer_the_ping(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health is told in time, whatever the database does."""
    await storage.ping()
    with monkeypatch.context() as patch, pytest.raises(StorageDown):
        patch.setattr("apps.core.storage.engine.PING_TIMEOUT_S", 0.0)
        await storage.ping()
    await storage.ping()
    await storage.close()
    assert await driver_threads_end()
