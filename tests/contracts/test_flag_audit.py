"""The audit chain on both engines: it never forks, and no byte of it changes unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from apps.core.storage import flag_audit, flag_versions
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import AuditFilter, Cause, Verdict
from apps.core.storage.flag_tables import flag_audit as table
from tests.contracts import processes

NOW = 1_800_000_000.25
RACERS = 4
ROWS_EACH = 8

APPENDING_PROCESS = """
from apps.core.storage import flag_versions
from apps.core.storage.flag_audit import Cause

async def main(storage, name, rows):
    print("ready", flush=True)
    input()
    for number in range(int(rows)):
        async with storage.session() as s:
            await flag_versions.changed(
                s, Cause(name, "cli", float(number)), flag_key="f", before=None, after={"n": number}
            )

run(main)
"""

# A value for each column that no row of `fill` has; the row that gets it is the third of five.
FORGED: dict[str, object] = {
    "id": 77,
    "at": NOW + 1e-6,
    "actor": "nobody",
    "source": "cli",
    "flag_key": None,
    "before": '{"n":2 }',
    "after": None,
    "reason": "토론",
    "evidence": '{"e":100.0}',
    "prev_hash": "f" * 64,
    "hash": "f" * 64,
}


async def fill(storage: Storage, rows: int = 5) -> None:
    """A chain."""
    async with storage.session() as s:
        for number in range(rows):
            cause = Cause(f"key:{number % 2}", "rest", NOW + number, "토론 시험", {"e": 100.5})
            facts = {"한": [number, 1.5, None, True], "n": number}
            key = "a" if number % 2 else "b"
            await flag_audit.append(s, cause, flag_key=key, before={"n": number}, after=facts)


async def verify(storage: Storage) -> Verdict:
    """The verdict, read in batches smaller than the chain."""
    async with storage.reading() as s:
        return await flag_audit.verify(s, batch_rows=2)


async def tamper(storage: Storage, statement: str, **values: object) -> None:
    """Change the database as its owner can: without the triggers."""
    async with storage.session() as s:
        names = ("no_update", "no_delete", "no_replace")
        if storage.embedded:
            for name in names:
                await s.execute(text(f"DROP TRIGGER flag_audit_{name}"))
        else:
            await s.execute(text("ALTER TABLE flag_audit DISABLE TRIGGER ALL"))
        await s.execute(text(statement), values)


async def test_a_chain_that_nobody_touched_is_whole(storage: Storage) -> None:
    """Numbers, Korean, nulls and fractions hash the same after the database had them."""
    assert await verify(storage) == Verdict(True, 0)
    await fill(storage)
    assert await verify(storage) == Verdict(True, 5)


async def test_rows_come_back_as_they_were_written(storage: Storage) -> None:
    """Newest first, with facts, reason and evidence."""
    await fill(storage, 2)
    async with storage.reading() as s:
        rows = await flag_audit.listed(s, AuditFilter())
    assert [row.id for row in rows] == [2, 1]
    assert rows[0].after == {"한": [1, 1.5, None, True], "n": 1}
    assert (rows[0].at, rows[0].reason, rows[0].evidence) == (NOW + 1, "토론 시험", {"e": 100.5})
    assert rows[0].prev_hash == rows[1].hash


async def test_a_list_is_filtered_and_continued(storage: Storage) -> None:
    """By flag, actor, source and time, and from behind the last row that was seen."""
    await fill(storage)
    async with storage.reading() as s:

        async def ids(wanted: AuditFilter, **page: Any) -> list[int]:
            return [row.id for row in await flag_audit.listed(s, wanted, **page)]

        assert await ids(AuditFilter(flag_key="a")) == [4, 2]
        assert await ids(AuditFilter(actor="key:0", since=NOW + 2)) == [5, 3]
        assert await ids(AuditFilter(source="cli")) == []
        assert await ids(AuditFilter(), limit=2) == [5, 4]
        assert await ids(AuditFilter(), before_id=4, limit=2) == [3, 2]


async def test_a_zero_byte_in_a_reason_is_dropped(storage: Storage) -> None:
    """PostgreSQL holds none, and a caller's text must not break a rollback."""
    async with storage.session() as s:
        cause = Cause("a\0b", "rest", NOW, "x\0y")
        await flag_audit.append(s, cause, flag_key="f", before=None, after=None)
    assert await verify(storage) == Verdict(True, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE flag_audit SET reason = 'x'",
        "DELETE FROM flag_audit WHERE id = 5",
        "TRUNCATE flag_audit",
        "INSERT OR REPLACE INTO flag_audit SELECT * FROM flag_audit WHERE id = 5",
    ],
)
async def test_the_database_refuses_to_change_the_past(storage: Storage, statement: str) -> None:
    """Triggers stand even before somebody with a SQL prompt (each engine knows its own words)."""
    await fill(storage)
    with pytest.raises(DBAPIError):
        async with storage.session() as s:
            await s.execute(text(statement))
    assert await verify(storage) == Verdict(True, 5)


async def test_every_column_is_forged() -> None:
    """A new column must get its forgery below."""
    assert set(FORGED) == {column.key for column in table.c}


@pytest.mark.parametrize("column", FORGED)
async def test_a_forged_column_is_found_at_its_row(storage: Storage, column: str) -> None:
    """One column of one row, however small the difference."""
    await fill(storage)
    statement = f'UPDATE flag_audit SET "{column}" = :value WHERE id = 3'
    await tamper(storage, statement, value=FORGED[column])
    found = await verify(storage)
    assert (found.ok, found.broken_id, found.rows) == (False, 3, 2)


@pytest.mark.parametrize("row", range(1, 6))
async def test_every_row_is_guarded(storage: Storage, row: int) -> None:
    """The first and the last row are as safe as the others."""
    await fill(storage)
    await tamper(storage, "UPDATE flag_audit SET actor = 'x' WHERE id = :row", row=row)
    assert (await verify(storage)).broken_id == row


@pytest.mark.parametrize("row", range(1, 6))
async def test_a_missing_row_is_named(storage: Storage, row: int) -> None:
    """At the beginning, in the middle, or at the tail."""
    await fill(storage)
    await tamper(storage, "DELETE FROM flag_audit WHERE id = :row", row=row)
    found = await verify(storage)
    assert (found.ok, found.broken_id) == (False, row)


async def test_a_row_that_was_slipped_in_is_found(storage: Storage) -> None:
    """Even one that continues the chain correctly, because the head does not know it."""
    await fill(storage)
    forged = {
        "id": 6, "at": NOW, "actor": "x", "source": "cli", "flag_key": None, "before": None,
        "after": None, "reason": "", "evidence": None,
    }  # fmt: skip
    async with storage.reading() as s:
        head = (await flag_audit.listed(s, AuditFilter(), limit=1))[0].hash
    forged |= {"prev_hash": head, "hash": flag_audit._hash(head, forged)}
    async with storage.session() as s:
        await s.execute(table.insert().values(forged))
    assert (await verify(storage)).broken_id == 6


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE flag_snapshot SET audit_rows = 4", 5),
        ("UPDATE flag_snapshot SET audit_rows = 6", 6),
        ("UPDATE flag_snapshot SET audit_head = 'x'", 5),
        ("DELETE FROM flag_snapshot", 1),
    ],
)
async def test_a_forged_head_is_found(storage: Storage, statement: str, broken: int) -> None:
    """The head and the chain must agree."""
    await fill(storage)
    await tamper(storage, statement)
    assert (await verify(storage)).broken_id == broken


async def test_text_turned_into_bytes_is_found(storage: Storage) -> None:
    """SQLite lets a column hold another type; that is tampering, not a crash."""
    if not storage.embedded:
        pytest.skip("PostgreSQL keeps its types")
    await fill(storage)
    await tamper(storage, "UPDATE flag_audit SET reason = CAST(reason AS BLOB) WHERE id = 2")
    assert (await verify(storage)).broken_id == 2


@contextmanager
def raw(storage: Storage) -> Iterator[Any]:
    """A connection that knows nothing of this program."""
    import sqlite3

    if storage.embedded:
        connection: Any = sqlite3.connect(storage.url.database or "")
    else:
        plain = make_url(storage.url).set(drivername="postgresql")
        connection = psycopg.connect(plain.render_as_string(hide_password=False))
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


async def test_somebody_elses_connection_is_refused_too(storage: Storage) -> None:
    """The guards are in the database, not in this program."""
    await fill(storage)

    def forge() -> None:
        with raw(storage) as connection:
            connection.execute("UPDATE flag_audit SET actor = 'x' WHERE id = 3")

    with pytest.raises(Exception, match="append-only"):
        await asyncio.to_thread(forge)
    assert (await verify(storage)).ok


async def test_racing_processes_never_fork_the_chain(database_url: str, storage: Storage) -> None:
    """Every append of every process is one link, and the version counts them all."""
    each = [(database_url, f"p{number}", str(ROWS_EACH)) for number in range(RACERS)]
    processes.race(APPENDING_PROCESS, each)
    assert await verify(storage) == Verdict(True, RACERS * ROWS_EACH)
    async with storage.reading() as s:
        assert (await flag_versions.read(s)).version == RACERS * ROWS_EACH


async def test_concurrent_units_of_one_process_never_fork_it(storage: Storage) -> None:
    """Tasks over one pool append one after the other."""

    async def add(number: int) -> None:
        async with storage.session() as s:
            cause = Cause(str(number), "rest", NOW)
            await flag_audit.append(s, cause, flag_key=None, before=None, after=None)

    await asyncio.gather(*(add(number) for number in range(20)))
    assert await verify(storage) == Verdict(True, 20)


async def test_only_what_is_kept_is_counted(storage: Storage) -> None:
    """`dtrag_flag_changes_total` by flag and source; a unit of work that fails counts nothing."""

    def counted() -> float:
        found = REGISTRY.get_sample_value(
            "dtrag_flag_changes_total", {"flag": "counted", "source": "rest"}
        )
        return found or 0.0

    cause, before = Cause("me", "rest", NOW), counted()
    with pytest.raises(ZeroDivisionError):
        async with storage.session() as s:
            await flag_audit.append(s, cause, flag_key="counted", before=None, after={"n": 1})
            raise ZeroDivisionError
    async with storage.session() as s:
        await flag_audit.append(s, cause, flag_key="counted", before=None, after={"n": 1})
        assert counted() == before
    assert counted() == before + 1
    await storage.ping()
    assert counted() == before + 1
