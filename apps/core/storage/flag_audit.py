"""Who changed which flag and why: a chain of rows that nobody can quietly alter.

`hash = SHA-256(prev_hash ‖ canonical JSON of the row without its hashes)`, both as ASCII text.
Rows are numbered without gaps, and `flag_snapshot` keeps their number and the last hash, so that
a missing tail is seen as well. Triggers forbid UPDATE and DELETE. What this cannot show: somebody
who may write every table and computes the whole chain anew; keep a copy of the head elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import orjson
from sqlalchemy import RowMapping, select, update

from apps.core.domain.flags import EVERY_FLAG
from apps.core.storage.connections import Session, after_commit, canonical_json
from apps.core.storage.flag_tables import flag_audit, flag_snapshot
from apps.core.telemetry import metrics

Source = Literal["rest", "cli", "envfile", "killfile", "controller", "import"]
Facts = Mapping[str, Any]

NO_HASH = "0" * 64
BATCH_ROWS = 500


@dataclass(frozen=True, slots=True)
class Cause:
    """Who wants a change, when, and why; `evidence` must be enough to decide the same again."""

    actor: str
    source: Source
    at: float
    reason: str = ""
    evidence: Facts | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One effective change; `before` is None for something new, `after` for something gone."""

    id: int
    at: float
    actor: str
    source: Source
    flag_key: str | None
    before: Facts | None
    after: Facts | None
    reason: str
    evidence: Facts | None
    prev_hash: str
    hash: str


HASHED = tuple(field.name for field in fields(AuditRow) if "hash" not in field.name)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows a list shows; None means any."""

    flag_key: str | None = None
    actor: str | None = None
    source: Source | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check of the chain found; `broken_id` is the first row that is wrong or missing."""

    ok: bool
    rows: int
    broken_id: int | None = None
    why: str = ""


async def append(
    s: Session,
    cause: Cause,
    *,
    flag_key: str | None,
    before: Facts | None,
    after: Facts | None,
) -> int:
    """Add one row to the chain and return its number; racing writers wait for each other."""
    # The row lock lasts until the commit, so the next writer continues from this row.
    locked = select(flag_snapshot.c.audit_rows, flag_snapshot.c.audit_head).with_for_update()
    rows, head = (await s.execute(locked)).one()
    row = {
        "id": rows + 1,
        "at": cause.at,
        "actor": _text(cause.actor),
        "source": cause.source,
        "flag_key": flag_key,
        "before": _json(before),
        "after": _json(after),
        "reason": _text(cause.reason),
        "evidence": _json(cause.evidence),
    }
    fingerprint = _hash(head, row)
    await s.execute(flag_audit.insert().values(**row, prev_hash=head, hash=fingerprint))
    await s.execute(update(flag_snapshot).values(audit_rows=row["id"], audit_head=fingerprint))
    after_commit(s, metrics.flag_changes.of(flag_key or EVERY_FLAG, cause.source).inc)
    return int(rows) + 1


async def listed(
    s: Session, wanted: AuditFilter, *, before_id: int | None = None, limit: int = 100
) -> list[AuditRow]:
    """Rows, the newest first; `before_id` is the id of the last one seen."""
    query = select(flag_audit)
    for name in ("flag_key", "actor", "source"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(flag_audit.c[name] == value)
    if wanted.since is not None:
        query = query.where(flag_audit.c.at >= wanted.since)
    if before_id is not None:
        query = query.where(flag_audit.c.id < before_id)
    rows = (await s.execute(query.order_by(flag_audit.c.id.desc()).limit(limit))).mappings()
    return [_row(row) for row in rows]


async def verify(s: Session, *, batch_rows: int = BATCH_ROWS) -> Verdict:
    """Check every row in a reading unit of work, a batch in memory at a time."""
    query = select(flag_snapshot.c.audit_rows, flag_snapshot.c.audit_head)
    promised = (await s.execute(query)).first()
    if promised is None:
        return Verdict(False, 0, 1, "The head of the chain is gone.")
    seen, head = 0, NO_HASH
    while batch := await _after(s, seen, batch_rows):
        for row in batch:
            if why := _fault(row, seen + 1, head):
                return Verdict(False, seen, seen + 1, why)
            seen, head = seen + 1, row["hash"]
    if seen < promised.audit_rows:
        return Verdict(False, seen, seen + 1, "The tail of the chain is missing.")
    if seen > promised.audit_rows:
        return Verdict(False, seen, promised.audit_rows + 1, "The row is not known to the head.")
    if head != promised.audit_head:
        return Verdict(False, seen, max(seen, 1), "The last hash is not the one of the head.")
    return Verdict(True, seen)


async def _after(s: Session, seen: int, limit: int) -> list[RowMapping]:
    query = select(flag_audit).where(flag_audit.c.id > seen).order_by(flag_audit.c.id).limit(limit)
    return list((await s.execute(query)).mappings())


def _fault(row: RowMapping, expected_id: int, head: str) -> str:
    if row["id"] != expected_id:
        return "The row is missing."
    if row["prev_hash"] != head:
        return "The row does not continue the one before it."
    try:
        matches = row["hash"] == _hash(head, {name: row[name] for name in HASHED})
    except TypeError:  # bytes where text was: nothing of ours wrote that
        matches = False
    return "" if matches else "The row is not what was hashed."


def _hash(head: str, row: Facts) -> str:
    return hashlib.sha256((head + canonical_json(row)).encode()).hexdigest()


def _json(facts: Facts | None) -> str | None:
    return None if facts is None else canonical_json(dict(facts))


def _text(value: str) -> str:
    return value.replace("\0", "")  # PostgreSQL holds no NUL


def _row(row: RowMapping) -> AuditRow:
    values = {field.name: row[field.name] for field in fields(AuditRow)}
    for name in ("before", "after", "evidence"):
        if values[name] is not None:
            values[name] = orjson.loads(values[name])
    return AuditRow(**values)
