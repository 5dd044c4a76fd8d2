"""Connections to both engines, one unit of work, and the translation of drivers' errors.

SQLite: one writing connection a process, taken with BEGIN IMMEDIATE so that two processes wait
for each other and never deadlock, and reading connections that refuse to write. PostgreSQL: one
pool; a reading unit of work is a read-only transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import orjson
from sqlalchemy import Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from apps.core.errors import StorageDown

Session = AsyncConnection
Insert = sqlite.Insert | postgresql.Insert

BUSY_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
POOL_TIMEOUT_S = 10.0
# SQLSTATE classes 08 connection, 28 login, 3D no such database, 53 resources, 57P shutdown, and
# 40 serialization or deadlock: nothing was kept, the same unit of work may succeed later.
PASSING_SQLSTATES = ("08", "28", "3D", "40", "53", "57P")
SQLITE_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }
)


def insert(s: Session, table: Table) -> Insert:
    """An INSERT of the session's dialect, because ON CONFLICT is not in the common language."""
    if s.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces; equal values give equal text."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def sqlite_engine(
    url: URL,
    *,
    synchronous: str = "NORMAL",
    size: int = 1,
    overflow: int = 0,
    wait_s: float = POOL_TIMEOUT_S,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    foreign_keys: bool = True,
    read_only: bool = False,
) -> AsyncEngine:
    """A pool of connections to one SQLite file in WAL mode."""
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=wait_s,
        json_serializer=canonical_json,
        json_deserializer=orjson.loads,
        connect_args={"timeout": busy_timeout_s},
    )
    pragmas = [
        "PRAGMA journal_mode = WAL",
        f"PRAGMA synchronous = {synchronous}",
        f"PRAGMA foreign_keys = {int(foreign_keys)}",
        # Uploads wait unmasked in the queue; what is deleted there must not stay readable.
        "PRAGMA secure_delete = ON",
        f"PRAGMA query_only = {int(read_only)}",
    ]
    event.listen(engine.sync_engine, "connect", _prepare(pragmas))
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
    event.listen(engine.sync_engine, "begin", _begin(begin))
    return engine


def _prepare(pragmas: list[str]) -> Callable[[Any, object], None]:
    def connected(connection: Any, _record: object) -> None:
        # None: the driver opens no transaction by itself, `_begin` does.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    return connected


def _begin(statement: str) -> Callable[[Connection], None]:
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begun


def postgresql_engine(
    url: URL, *, size: int = 1, overflow: int = 0, wait_s: float = POOL_TIMEOUT_S
) -> AsyncEngine:
    """A pool of asyncpg connections; `sslmode` in the URL is understood as libpq does."""
    return create_async_engine(
        _renamed(url, "sslmode", "ssl"),
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=wait_s,
        pool_pre_ping=True,
        json_serializer=canonical_json,
        json_deserializer=orjson.loads,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "server_settings": {"application_name": "dtrag", "jit": "off"},
        },
    )


def driver_url(url: URL) -> str:
    """The same server for asyncpg itself, which keeps libpq's words."""
    plain = _renamed(url, "ssl", "sslmode").set(drivername="postgresql")
    return plain.render_as_string(hide_password=False)


def _renamed(url: URL, old: str, new: str) -> URL:
    if old not in url.query:
        return url
    return url.difference_update_query([old]).update_query_dict({new: url.query[old]})


@asynccontextmanager
async def unit(engine: AsyncEngine) -> AsyncIterator[Session]:
    """One transaction: commits at normal exit, rolls back otherwise.

    Raises:
        StorageDown: the database is away, full, or locked for too long.
    """
    with translated():
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(engine.connect())
            except OSError as error:
                # asyncpg leaves a refused, missing or slow server to the system's own words.
                raise StorageDown("The database cannot be reached.") from error
            async with connection.begin():
                yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn a driver's word for an outage into StorageDown; other errors pass."""
    try:
        yield
    except PoolTimeout as error:
        raise StorageDown("All database connections are in use.", retry_after_s=1.0) from error
    except (SQLAlchemyError, ConnectionError) as error:
        if not _is_outage(error):
            raise
        raise StorageDown("The database cannot be used now.", retry_after_s=1.0) from error


def _is_outage(error: Exception) -> bool:
    if isinstance(error, ConnectionError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in SQLITE_OUTAGES
    if isinstance(getattr(error.orig, "__cause__", None), ValueError):
        return False  # asyncpg calls a wrong argument an InterfaceError
    state = getattr(error.orig, "sqlstate", None) or ""
    return (
        error.connection_invalidated
        or isinstance(error, OperationalError | InterfaceError)
        or state.startswith(PASSING_SQLSTATES)
    )
