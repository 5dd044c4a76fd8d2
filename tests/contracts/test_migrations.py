"""Migrations lead to the schema of `tables.py`, there and back, on both engines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from apps.core.errors import StorageDown, SystemFailure
from apps.core.storage import flag_tables, migrate, tables

ROOT = Path(__file__).parents[2]
PROCESSES = 4

# Those that came after the first migration.
LATER_TABLES = ("feature_flag", "flag_", "learning_epoch", "run_event")

Rows = dict[str, dict[str, object]]
ROWS: Rows = {
    "document": {
        "id": "d", "title": "제목", "text": "본문", "checksum": "c", "language": "ko",
        "format": "txt", "tags": ["a"], "category": [], "created_at": 1.5, "updated_at": 1.5,
    },
    "chunk": {"id": "d:0", "doc_id": "d", "ordinal": 0, "start": 0, "end": 2, "language": "ko"},
    "chunk_vector": {"chunk_id": "d:0", "embedder_id": "e", "vector": b"\x00\x01"},
    "api_key": {
        "id": "k", "name": "n", "hash": "h", "scopes": ["admin"], "tenant": "default",
        "allowed_ips": [], "created_at": 1.5,
    },
    "answer": {
        "id": "a", "request_id": "r", "question_masked": "q", "body": {"x": 1}, "created_at": 1.5,
    },
    "feedback": {
        "answer_id": "a", "caller": "k", "reward": 0.5, "labels": [], "created_at": 1.5,
    },
    "change": {"topic": "keys", "version": 3},
    "job": {
        "id": "j", "kind": "ingest", "state": "running", "payload": {}, "total": 0, "finished": 1,
        "attempts": 1, "run_after_at": 1.5, "created_at": 1.5, "updated_at": 1.5,
    },
    "run_event": {"job_id": "j", "ordinal": 1, "frame": "id: j.1"},
    "feature_flag": {
        "key": "f", "definition": {"x": 1}, "default_variant": "off", "hash_version": "v2",
        "salt": "s1", "kind": "release", "killed": True, "version": 1,
    },
    "flag_rollout": {
        "id": "r", "flag_key": "f", "kind": "experiment", "arms": {"a": 1}, "salt": "s1",
        "bucket_by": ["user_id"], "stages": [5, 100], "stage_idx": 0, "percent": 5.0,
        "holdback": 0.0, "state": "RUNNING", "policy": {}, "epoch": 1, "version": 1,
        "created_at": 1.5, "updated_at": 1.5,
    },
    "learning_epoch": {
        "rollout_id": "r", "epoch": 1, "flag_key": "f", "state": "running", "alpha": 0.01,
        "started_at": 1.5, "at": 1.5,
    },
    "flag_metric_counter": {
        "rollout_id": "r", "epoch": 1, "stage_idx": 0, "metric": "error", "arm": "canary",
        "n": 5_000_000_000, "bad": 1, "total": 1.5, "total_sq": 2.25,
    },
    "flag_vote": {
        "rollout_id": "r", "epoch": 1, "metric": "error", "unit_hash": "u", "stage_idx": 0,
        "arm": "canary", "at": 1.5,
    },
    "flag_unit": {
        "rollout_id": "r", "epoch": 1, "unit_hash": "u", "stage_idx": 0, "arm": "canary",
        "at": 1.5,
    },
    "flag_evidence": {
        "rollout_id": "r", "epoch": 1, "metric": "error", "log_e": [0.0], "look": 1, "at": 1.5,
    },
    "flag_exposure": {
        "id": "e", "flag_key": "f", "arm": "canary", "unit_hash": "u", "request_id": "q",
        "node": "n", "at": 1.5,
    },
    "flag_worker_ack": {
        "worker_id": "w", "host": "h", "version": 1, "env_vetoes": [], "report": {}, "at": 1.5,
    },
    "flag_host_file": {
        "host": "h", "source": "envfile", "sha256": "s", "content": {}, "changed_at": 1.5,
    },
    "flag_leader": {"id": 1, "holder": "w", "lease_until": 1.5},
    "flag_audit": {
        "id": 1, "at": 1.5, "actor": "k", "source": "cli", "reason": "", "prev_hash": "0",
        "hash": "1",
    },
}  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.pg)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, on each engine."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/new/dtrag.db"
    return str(request.getfixturevalue("empty_postgres_url"))


def _in(url: str, work: Callable[[Connection], object]) -> list[object]:
    found: list[object] = []
    migrate.locked(url, lambda connection: found.append(work(connection)))
    return found


def _fill(connection: Connection, rows: Rows = ROWS) -> None:
    for name, row in rows.items():
        connection.execute(tables.metadata.tables[name].insert().values(row))


def _counts(connection: Connection) -> dict[str, int]:
    names = inspect(connection).get_table_names()
    return {
        name: connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one()
        for name in names
        if name in ROWS
    }


def test_there_is_one_head_and_the_code_knows_it() -> None:
    """Two heads would make `upgrade head` fail; an old HEAD would skip the newest migration."""
    scripts = ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))
    assert scripts.get_heads() == [migrate.HEAD]


def test_revisions_sort_in_the_order_in_which_they_follow() -> None:
    """`is_current` compares revisions as text, so their numbers must grow."""
    scripts = ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))
    ids = [script.revision for script in scripts.walk_revisions()]
    assert ids == sorted(ids, reverse=True)
    assert all(len(name) <= 32 and name[:4].isdigit() for name in ids)


def test_up_with_rows_down_and_up_again(empty_url: str) -> None:
    """Rows survive an upgrade; a downgrade to nothing leaves nothing; then it starts again."""
    migrate.upgrade(empty_url)
    _in(empty_url, _fill)
    migrate.upgrade(empty_url)
    assert _in(empty_url, _counts) == [dict.fromkeys(ROWS, 1)]
    migrate.downgrade(empty_url, "base")
    assert _in(empty_url, _counts) == [{}]
    migrate.upgrade(empty_url)
    _in(empty_url, _fill)
    assert _in(empty_url, _counts) == [dict.fromkeys(ROWS, 1)]


def test_the_flag_tables_come_and_go_beside_rows(empty_url: str) -> None:
    """Rows of the first schema survive the second and the way back; the guards go too."""
    first = {name: row for name, row in ROWS.items() if not name.startswith(LATER_TABLES)}
    migrate.upgrade(empty_url, "0001_first_tables")
    _in(empty_url, lambda connection: _fill(connection, first))
    migrate.upgrade(empty_url)
    rest = {name: row for name, row in ROWS.items() if name not in first}
    _in(empty_url, lambda connection: _fill(connection, rest))
    migrate.downgrade(empty_url, "0001_first_tables")
    assert _in(empty_url, _counts) == [dict.fromkeys(first, 1)]
    migrate.upgrade(empty_url)
    assert _in(empty_url, _counts) == [dict.fromkeys(first, 1) | dict.fromkeys(rest, 0)]


def test_runs_come_and_go_beside_jobs(empty_url: str) -> None:
    """The release before neither finds the events nor a kind of job that it does not know."""
    migrate.upgrade(empty_url)
    _in(empty_url, _fill)
    run = tables.job.insert().values({**ROWS["job"], "id": "r", "kind": "answer"})
    _in(empty_url, lambda connection: connection.execute(run) and None)
    migrate.downgrade(empty_url, "0003_worker_report")
    one = dict.fromkeys(ROWS, 1)
    assert _in(empty_url, _counts) == [{name: 1 for name in one if name != "run_event"}]
    migrate.upgrade(empty_url)
    assert _in(empty_url, _counts) == [{**one, "run_event": 0}]


def test_the_migrated_schema_is_the_schema_in_the_code(database_url: str) -> None:
    """Alembic finds no difference between the migrations and the two files of tables."""

    def differences(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, flag_tables.metadata)

    assert _in(database_url, differences) == [[]]


def test_a_new_database_is_not_current_and_a_migrated_one_is(empty_url: str) -> None:
    """The start can tell whether it must migrate, and asking creates nothing."""
    assert not migrate.is_current(empty_url)
    migrate.upgrade(empty_url)
    assert migrate.is_current(empty_url)


def test_asking_does_not_create_a_file(tmp_path: Path) -> None:
    """A question about a SQLite file that is not there leaves the directory as it was."""
    assert not migrate.is_current(f"sqlite+aiosqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_good_enough(database_url: str) -> None:
    """The previous release keeps running, and does not touch the schema of the next one."""
    newer = text("UPDATE alembic_version SET version_num = '9999_from_the_future'")
    _in(database_url, lambda connection: connection.execute(newer))
    assert migrate.is_current(database_url)
    migrate.upgrade(database_url)
    assert migrate.revision(database_url) == "9999_from_the_future"


def test_a_migration_that_fails_leaves_nothing(empty_url: str) -> None:
    """The change is one transaction: half a migration is never seen."""

    def half(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        raise SystemFailure("broken on purpose")

    with pytest.raises(SystemFailure):
        migrate.locked(empty_url, half)
    assert _in(empty_url, lambda c: inspect(c).get_table_names()) == [[]]


def test_many_processes_migrate_at_once(empty_url: str) -> None:
    """Every one of the racing processes ends well and the schema is made once."""
    code = f"from apps.core.storage import migrate; input(); migrate.upgrade({empty_url!r})"
    command = [sys.executable, "-W", "error", "-c", code]
    pipe = subprocess.PIPE
    racing = [
        subprocess.Popen(command, cwd=ROOT, stdin=pipe, stderr=pipe, text=True)
        for _ in range(PROCESSES)
    ]
    with ThreadPoolExecutor(PROCESSES) as pool:
        errors = list(pool.map(lambda process: process.communicate("go\n", timeout=60)[1], racing))
    assert errors == [""] * PROCESSES
    assert [process.returncode for process in racing] == [0] * PROCESSES
    assert migrate.is_current(empty_url)


def test_the_command_line_of_alembic_reads_the_settings(empty_url: str, tmp_path: Path) -> None:
    """`alembic upgrade head` migrates the database that DATABASE_URL names."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), "upgrade", "head"],
        cwd=tmp_path,
        env={"DATABASE_URL": empty_url, "PATH": ""},
        check=True,
        capture_output=True,
    )
    assert migrate.is_current(empty_url)


def test_a_server_that_is_away_is_an_outage() -> None:
    """A refused connection has the product's word, not the driver's."""
    with pytest.raises(StorageDown):
        migrate.is_current("postgresql+asyncpg://nobody@127.0.0.1:1/none")


def test_orphans_stop_a_sqlite_migration(sqlite_url: str) -> None:
    """Foreign keys are off while tables are rebuilt, so they are checked before the commit."""
    orphan = tables.chunk.insert().values(ROWS["chunk"])
    with pytest.raises(SystemFailure, match="orphans"):
        migrate.locked(sqlite_url, lambda connection: connection.execute(orphan) and None)
