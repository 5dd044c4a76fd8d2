"""Connections to both engines, one unit of work, and the translation of drivers' errors.

SQLite: one writing connection a process, taken with BEGIN IMMEDIATE so that two processes wait
for each other and never deadlock, and reading connections that refuse to write. PostgreSQL: one
pool; a reading unit of work is a read-only transaction.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
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

AFTER_COMMIT = "dtrag.after_commit"
BUSY_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
POOL_TIMEOUT_S = 10.0
# No statement of ours takes as long; a connection that a firewall forgot would be waited for
# until TCP gives up, a quarter of an hour later.
STATEMENT_TIMEOUT_S = 60.0
FAREWELL_S = 0.2
ROLLBACK_S = 1.0
# Options of a connection that carry what was asked of its unit of work.
BUSY_S, ALONE = "busy_s", "alone"
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
    event.listen(engine.sync_engine, "begin", _begin(begin, busy_timeout_s))
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


def _begin(statement: str, busy_timeout_s: float) -> Callable[[Connection], None]:
    def begun(connection: Connection) -> None:
        # What waits for a lock cannot be interrupted, so it must know the limit itself.
        busy_s = connection.get_execution_options().get(BUSY_S, busy_timeout_s)
        if connection.info.get(BUSY_S, busy_timeout_s) != busy_s:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {busy_s * 1000:.0f}")
            connection.info[BUSY_S] = busy_s
        if not connection.get_execution_options().get(ALONE):
            connection.exec_driver_sql(statement)

    return begun


def postgresql_engine(
    url: URL,
    *,
    size: int = 1,
    overflow: int = 0,
    wait_s: float = POOL_TIMEOUT_S,
    statement_s: float | None = STATEMENT_TIMEOUT_S,
) -> AsyncEngine:
    """A pool of asyncpg connections; `sslmode` in the URL is understood as libpq does.

    Args:
        statement_s: no statement takes longer, nor a pause in a transaction; None is no limit.
    """
    idle = (
        {}
        if statement_s is None
        else {
            # A worker that vanished must not keep its locks.
            "idle_in_transaction_session_timeout": f"{statement_s:.0f}s"
        }
    )
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
            "command_timeout": statement_s,
            "connection_class": prompt_connection(),
            "server_settings": {"application_name": "dtrag", "jit": "off", **idle},
        },
    )


def prompt_connection() -> type[Any]:
    """An asyncpg connection that does not wait long for a server's farewell.

    A unit of work that ran out of time ends by closing its connection. Waiting two seconds there,
    as SQLAlchemy asks for, would double the limit that the caller set.
    """
    # Imported late: SQLite needs no PostgreSQL driver.
    import asyncpg  # noqa: PLC0415

    # asyncpg has no types.
    class Prompt(asyncpg.Connection):  # type: ignore[misc]
        # The driver's own signature.
        async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
            # Without an answer the driver has cut the connection off by then.
            with suppress(TimeoutError):
                await super().close(timeout=min(timeout or FAREWELL_S, FAREWELL_S))

        async def execute(
            self,
            query: str,
            *args: object,
            timeout: float | None = None,  # noqa: ASYNC109
        ) -> str:
            if query.startswith("ROLLBACK"):
                # The pool's question whether a connection lives ends with one, also when who
                # asks has run out of time; the server rolls back without being told.
                timeout = ROLLBACK_S
            return str(await super().execute(query, *args, timeout=timeout))

    return Prompt


def driver_url(url: URL) -> str:
    """The same server for asyncpg itself, which keeps libpq's words."""
    plain = _renamed(url, "ssl", "sslmode").set(drivername="postgresql")
    return plain.render_as_string(hide_password=False)


def _renamed(url: URL, old: str, new: str) -> URL:
    if old not in url.query:
        return url
    return url.difference_update_query([old]).update_query_dict({new: url.query[old]})


@asynccontextmanager
async def unit(
    engine: AsyncEngine, *, within_s: float | None = None, alone: bool = False
) -> AsyncIterator[Session]:
    """One transaction: commits at normal exit, rolls back otherwise.

    Args:
        within_s: all of it must be done by then; None is as long as the drivers wait.
        alone: it is a single statement; SQLite holds its write lock for that one only, and not
            over three turns of a busy event loop.

    Raises:
        StorageDown: the database is away, full, locked for too long, or too slow.
    """
    _refuse_absent(engine.url)
    with translated():
        async with asyncio.timeout(within_s), AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(engine.connect())
            except OSError as error:
                # asyncpg leaves a refused, missing or slow server to the system's own words.
                raise StorageDown("The database cannot be reached.") from error
            if within_s is not None:
                await connection.execution_options(**{BUSY_S: within_s})
            if alone:
                await connection.execution_options(**{ALONE: True})
            connection.info.pop(AFTER_COMMIT, None)
            async with connection.begin():
                yield connection
            for act in connection.info.pop(AFTER_COMMIT, ()):
                act()


def after_commit(s: Session, act: Callable[[], None]) -> None:
    """Do something quick when the unit of work is kept; nothing when it is not."""
    s.info.setdefault(AFTER_COMMIT, []).append(act)


def _refuse_absent(url: URL) -> None:
    """SQLite would go on in a file that was moved away, or begin an empty one in its place.

    Its driver's thread outlives a connection that failed, so what is no file is not even tried.

    Raises:
        StorageDown: there is no file.
    """
    if url.get_backend_name() == "sqlite" and not os.path.isfile(url.database or ""):  # noqa: PTH113 - a Path costs more
        raise StorageDown("The database file is not there.")


@contextmanager
def translated() -> Iterator[None]:
    """Turn a driver's word for an outage into StorageDown; other errors pass."""
    try:
        yield
    except PoolTimeout as error:
        raise StorageDown("All database connections are in use.", retry_after_s=1.0) from error
    except TimeoutError as error:
        raise StorageDown("The database does not answer.", retry_after_s=1.0) from error
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
