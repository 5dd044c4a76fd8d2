"""Documents, their chunks, and the vectors of their chunks.

A chunk holds offsets only; its text is the document's at [start, end), cut when it is read.
Deleting a document deletes its chunks and vectors (foreign keys cascade).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import RowMapping, Select, and_, delete, func, select
from sqlalchemy.exc import IntegrityError

from apps.core.domain.models import Document, Language, Passage, Source
from apps.core.domain.ports import FloatArray
from apps.core.errors import StorageDown
from apps.core.storage.connections import Session, insert
from apps.core.storage.tables import chunk, chunk_vector, document

VECTOR_TYPE = np.dtype("<f4")
DESCRIPTION = [column for column in document.c if column.key != "text"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A document in a list: all of it but its text."""

    document: Document
    chars: int
    chunks: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A chunk without a vector of some embedder."""

    chunk_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Indexable:
    """A passage as the index wants it; `vector` is None when it has none yet."""

    passage: Passage
    vector: FloatArray | None


async def put(s: Session, stored: Sequence[Document], *, now: float) -> None:
    """Store documents, replacing those with the same id; their chunks stay as they are.

    Raises:
        StorageDown: another transaction stored the same text at the same moment; try again.
    """
    rows = [{**_row(each), "created_at": now, "updated_at": now} for each in stored]
    if not rows:
        return
    statement = insert(s, document)
    replaced = {
        name: statement.excluded[name] for name in rows[0] if name not in ("id", "created_at")
    }
    try:
        await s.execute(statement.on_conflict_do_update(index_elements=["id"], set_=replaced), rows)
    except IntegrityError as error:
        raise StorageDown("The same text is being stored twice.", retry_after_s=1.0) from error


async def put_chunks(s: Session, cut: Mapping[str, Sequence[Passage]]) -> None:
    """Give documents, by id, these chunks instead of those they had; old vectors go too."""
    if not cut:
        return
    await s.execute(delete(chunk).where(chunk.c.doc_id.in_(list(cut))))
    rows = [
        {
            "id": passage.chunk_id,
            "doc_id": doc_id,
            "ordinal": ordinal,
            "start": passage.start,
            "end": passage.end,
            "language": passage.language,
        }
        for doc_id, passages in cut.items()
        for ordinal, passage in enumerate(passages)
    ]
    if rows:
        await s.execute(chunk.insert(), rows)


async def remove(s: Session, doc_id: str) -> bool:
    """Delete a document with its chunks and vectors; False when there is none."""
    result = await s.execute(delete(document).where(document.c.id == doc_id))
    return bool(result.rowcount)


async def get(s: Session, doc_id: str) -> Document | None:
    """A document with its text."""
    row = (await s.execute(select(document).where(document.c.id == doc_id))).mappings().first()
    return _document(row, str(row["text"])) if row else None


async def same(s: Session, *, ids: Sequence[str], checksums: Sequence[str]) -> list[Document]:
    """The documents, without text, that have one of these ids or one of these texts."""
    either = document.c.id.in_(ids) | document.c.checksum.in_(checksums)
    rows = (await s.execute(select(*DESCRIPTION).where(either))).mappings()
    return [_document(row, "") for row in rows]


async def listed(s: Session, *, after: str | None = None, limit: int = 100) -> list[Listed]:
    """Documents in the order of their ids, from behind `after`."""
    counted = select(func.count()).where(chunk.c.doc_id == document.c.id).scalar_subquery()
    length = func.length(document.c.text)
    query = select(*DESCRIPTION, length.label("chars"), counted.label("chunks"))
    if after is not None:
        query = query.where(document.c.id > after)
    rows = (await s.execute(query.order_by(document.c.id).limit(limit))).mappings()
    return [
        Listed(
            _document(row, ""), row["chars"], row["chunks"], row["created_at"], row["updated_at"]
        )
        for row in rows
    ]


async def count(s: Session) -> int:
    """How many documents there are."""
    return int((await s.execute(select(func.count()).select_from(document))).scalar_one())


async def span(s: Session, doc_id: str, start: int, end: int) -> str | None:
    """The text of a document at [start, end), in characters; None when there is no document."""
    piece = func.substr(document.c.text, start + 1, max(0, end - start))
    found = (await s.execute(select(piece).where(document.c.id == doc_id))).first()
    return None if found is None else str(found[0])


async def checksums(s: Session, doc_ids: Collection[str]) -> dict[str, str]:
    """The checksum of each of these documents that exists."""
    query = select(document.c.id, document.c.checksum).where(document.c.id.in_(doc_ids))
    return {row.id: row.checksum for row in await s.execute(query)}


async def ids(s: Session, *, after: str = "", limit: int = 500) -> list[str]:
    """Ids of documents in order, from behind `after`."""
    query = select(document.c.id).where(document.c.id > after).order_by(document.c.id)
    return list((await s.execute(query.limit(limit))).scalars())


async def indexable(
    s: Session, doc_ids: Collection[str], *, embedder_id: str | None
) -> list[Indexable]:
    """All passages of these documents, in order, with the vectors that one embedder made."""
    texts = select(document).where(document.c.id.in_(doc_ids))
    documents = {row["id"]: row for row in (await s.execute(texts)).mappings()}
    mine = and_(chunk_vector.c.chunk_id == chunk.c.id, chunk_vector.c.embedder_id == embedder_id)
    query = (
        select(chunk, chunk_vector.c.vector)
        .select_from(chunk.outerjoin(chunk_vector, mine))
        .where(chunk.c.doc_id.in_(list(documents)))
        .order_by(chunk.c.doc_id, chunk.c.ordinal)
    )
    rows = (await s.execute(query)).mappings()
    return [Indexable(_passage(row, documents[row["doc_id"]]), _vector(row)) for row in rows]


async def waiting(s: Session, embedder_id: str, *, limit: int) -> list[Waiting]:
    """Chunks that this embedder has not seen yet."""
    text = func.substr(document.c.text, chunk.c.start + 1, chunk.c.end - chunk.c.start)
    query = _without_vector(embedder_id, chunk.c.id, document.c.title, text.label("piece"))
    rows = await s.execute(query.order_by(chunk.c.doc_id, chunk.c.ordinal).limit(limit))
    return [Waiting(row.id, row.title, row.piece) for row in rows]


async def count_waiting(s: Session, embedder_id: str) -> int:
    """How many chunks this embedder has not seen yet."""
    query = _without_vector(embedder_id, func.count())
    return int((await s.execute(query)).scalar_one())


async def put_vectors(s: Session, vectors: Mapping[str, FloatArray], *, embedder_id: str) -> None:
    """Store vectors by chunk id; chunks that vanished meanwhile are left out."""
    known = select(chunk.c.id).where(chunk.c.id.in_(list(vectors))).with_for_update(read=True)
    rows = [
        {
            "chunk_id": chunk_id,
            "embedder_id": embedder_id,
            "vector": np.asarray(vectors[chunk_id], VECTOR_TYPE).tobytes(),
        }
        for chunk_id in (await s.execute(known)).scalars()
    ]
    if rows:
        await s.execute(insert(s, chunk_vector).on_conflict_do_nothing(), rows)


async def vectors_of(
    s: Session, chunk_ids: Collection[str], *, embedder_id: str
) -> dict[str, FloatArray]:
    """The stored vectors of these chunks."""
    query = select(chunk_vector).where(
        chunk_vector.c.embedder_id == embedder_id, chunk_vector.c.chunk_id.in_(chunk_ids)
    )
    rows = (await s.execute(query)).mappings()
    return {row["chunk_id"]: np.frombuffer(row["vector"], VECTOR_TYPE) for row in rows}


def _without_vector(embedder_id: str, *columns: Any) -> Select[Any]:
    seen = select(chunk_vector.c.chunk_id).where(
        chunk_vector.c.chunk_id == chunk.c.id, chunk_vector.c.embedder_id == embedder_id
    )
    joined = chunk.join(document, document.c.id == chunk.c.doc_id)
    return select(*columns).select_from(joined).where(~seen.exists())


def _vector(row: RowMapping) -> FloatArray | None:
    return None if row["vector"] is None else np.frombuffer(row["vector"], VECTOR_TYPE)


def _row(stored: Document) -> dict[str, object]:
    return {
        "id": stored.id,
        "title": stored.title,
        "text": stored.text,
        "checksum": stored.checksum,
        "language": stored.language,
        "format": stored.format,
        "source_url": stored.source_url,
        "date": stored.date,
        "version": stored.version,
        "license": stored.license,
        "tags": list(stored.tags),
        "category": list(stored.category),
    }


def _document(row: RowMapping, text: str) -> Document:
    return Document(
        id=row["id"],
        title=row["title"],
        text=text,
        checksum=row["checksum"],
        language=row["language"],
        format=row["format"],
        source_url=row["source_url"],
        date=row["date"],
        version=row["version"],
        license=row["license"],
        tags=tuple(row["tags"]),
        category=tuple(row["category"]),
    )


def _passage(row: RowMapping, of: RowMapping) -> Passage:
    language: Language = row["language"]
    return Passage(
        chunk_id=row["id"],
        doc_id=row["doc_id"],
        title=of["title"],
        text=of["text"][row["start"] : row["end"]],
        start=row["start"],
        end=row["end"],
        language=language,
        tags=tuple(of["tags"]),
        category=tuple(of["category"]),
        source=Source(of["title"], of["source_url"], of["date"], of["version"]),
    )
