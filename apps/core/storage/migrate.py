"""Bring the schema to this program's revision; many processes may try at once.

One transaction holds the lock and the whole change on both engines, so a migration that dies
leaves nothing behind and the next process starts from the old state. These functions block and
run their own event loop: inside a running loop call them through `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from apps.core.errors import StorageDown, SystemFailure
from apps.core.storage.connections import postgresql_engine, sqlite_engine, translated

# Known here too, so that a start with a current schema need not import Alembic.
HEAD = "0004_run_events"
IN_TREE = Path(__file__).resolve().parents[3]
IN_WHEEL = Path(__file__).resolve().parent / "schema"
LOCK_WAIT_S = 60.0
# Any constant will do, as long as every release uses the same one.
ADVISORY_LOCK = 0x64747261

T = TypeVar("T")


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate up; does nothing when the schema is as new as this program or newer.

    Raises:
        StorageDown: the database is away, or another process migrates for over a minute.
    """
    if revision == "head" and is_current(url):
        return
    _alembic(url, "upgrade", revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate down to `revision` (`base` removes every table)."""
    _alembic(url, "downgrade", revision)


def is_current(url: str) -> bool:
    """Whether the schema has this program's revision or a newer one.

    A release must run on the schema of the next one, so newer is good enough.

    Raises:
        StorageDown: the database cannot be reached.
    """
    found = revision(url)
    return found is not None and found >= HEAD


def revision(url: str) -> str | None:
    """The revision that the database is at; None before the first migration."""
    parsed = make_url(url)
    if _is_sqlite(parsed) and not Path(parsed.database or "").is_file():
        return None

    async def read(connection: AsyncConnection) -> str | None:
        return await connection.run_sync(_read_revision)

    return _run(parsed, read)


def locked(url: str, work: Callable[[Connection], None]) -> None:
    """Do `work` in one transaction that no other migrating process can enter."""
    parsed = make_url(url)
    if _is_sqlite(parsed):
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)

    async def under_lock(connection: AsyncConnection) -> None:
        if not _is_sqlite(parsed):
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}
            )
        await connection.run_sync(work)
        if _is_sqlite(parsed):
            await connection.run_sync(_check_foreign_keys)

    _run(parsed, under_lock)


def _alembic(url: str, verb: str, target: str) -> None:
    # Imported late: it costs a start that need not migrate nothing.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    def work(connection: Connection) -> None:
        home = IN_WHEEL if IN_WHEEL.is_dir() else IN_TREE
        config = Config(home / "alembic.ini")
        config.attributes["connection"] = connection
        getattr(command, verb)(config, target)

    locked(url, work)


def _run(url: URL, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = _engine(url)
        try:
            with translated():
                async with engine.begin() as connection:
                    return await work(connection)
        except OSError as error:
            raise StorageDown("The database cannot be reached.") from error
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _engine(url: URL) -> AsyncEngine:
    if _is_sqlite(url):
        # Off, because rebuilding a table drops the old one, which would empty its children.
        return sqlite_engine(url, busy_timeout_s=LOCK_WAIT_S, foreign_keys=False)
    return postgresql_engine(url, statement_s=None)


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar_one_or_none()
    return found


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise SystemFailure(f"The migration would leave orphans in table {broken[0]!r}.")
