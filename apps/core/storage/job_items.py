"""The files of an ingest job: what is to be read, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, and_, func, select, update

from apps.core.storage.connections import Session
from apps.core.storage.tables import job_item


@dataclass(frozen=True, slots=True)
class Item:
    """One file of an ingest job; `content` is None once it is finished, or before a fetch."""

    ordinal: int
    name: str
    meta: Mapping[str, Any]
    content: bytes | None = None
    state: str = "queued"
    doc_ids: tuple[str, ...] = ()
    error_code: str | None = None
    error: str | None = None


async def add(s: Session, job_id: str, items: Sequence[Item]) -> None:
    """Add the files of a job."""
    rows = [
        {
            "job_id": job_id,
            "ordinal": item.ordinal,
            "name": item.name,
            "state": item.state,
            "content": item.content,
            "meta": dict(item.meta),
            "doc_ids": list(item.doc_ids),
        }
        for item in items
    ]
    if rows:
        await s.execute(job_item.insert(), rows)


async def next_of(s: Session, job_id: str) -> Item | None:
    """The first item that is not finished, with its content."""
    query = select(job_item).where(job_item.c.job_id == job_id, job_item.c.state == "queued")
    row = (await s.execute(query.order_by(job_item.c.ordinal).limit(1))).mappings().first()
    return _item(row, row["content"]) if row else None


async def put(s: Session, job_id: str, item: Item) -> None:
    """Store how far an item is; its content goes when it is finished."""
    values: dict[str, Any] = {
        "state": item.state,
        "doc_ids": list(item.doc_ids),
        "meta": dict(item.meta),
        "error_code": item.error_code,
        "error": item.error,
    }
    if item.state != "queued":
        values["content"] = None
    this = and_(job_item.c.job_id == job_id, job_item.c.ordinal == item.ordinal)
    await s.execute(update(job_item).where(this).values(**values))


async def listed(s: Session, job_id: str, *, limit: int = 1000) -> list[Item]:
    """Items without content: failed ones first, else in their order."""
    columns = [column for column in job_item.c if column.key != "content"]
    failed_first = (job_item.c.state != "failed", job_item.c.ordinal)
    query = select(*columns).where(job_item.c.job_id == job_id).order_by(*failed_first)
    return [_item(row, None) for row in (await s.execute(query.limit(limit))).mappings()]


async def counts(s: Session, job_id: str) -> dict[str, int]:
    """How many items of a job are in each state."""
    query = select(job_item.c.state, func.count()).where(job_item.c.job_id == job_id)
    rows = await s.execute(query.group_by(job_item.c.state))
    return {row[0]: row[1] for row in rows}


async def stored_ids(s: Session, job_ids: Collection[str]) -> list[str]:
    """The documents that items of these jobs have stored so far."""
    query = select(job_item.c.doc_ids).where(job_item.c.job_id.in_(job_ids))
    kept = query.where(job_item.c.state.in_(("stored", "queued", "failed")))
    rows = (await s.execute(kept.order_by(job_item.c.job_id, job_item.c.ordinal))).scalars()
    return list(dict.fromkeys(doc_id for doc_ids in rows for doc_id in doc_ids))


def _item(row: RowMapping, content: bytes | None) -> Item:
    return Item(
        ordinal=row["ordinal"],
        name=row["name"],
        meta=row["meta"],
        content=content,
        state=row["state"],
        doc_ids=tuple(row["doc_ids"]),
        error_code=row["error_code"],
        error=row["error"],
    )
