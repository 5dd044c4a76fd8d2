"""From a parsed document to rows: mask, detect the language, cut, recognise, store."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from apps.core.domain.models import Document, Passage, Source
from apps.core.errors import Unprocessable
from apps.core.storage import documents
from apps.core.storage.connections import Session
from apps.core.text import language, pii
from apps.ingestion.chunking import chunk
from apps.ingestion.items import Format, ItemMeta, Parsed, masked

MAX_ID_CHARS = 128
MAX_SLUG_CHARS = 100
MAX_TITLE_CHARS = 500
UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How documents are cut, in estimated tokens."""

    max_tokens: int
    overlap_tokens: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document stands: the file it came in, and its place when there are several.

    `meta` is what the caller said of the file; it outranks what the file says of itself.
    """

    name: str
    format: Format
    meta: ItemMeta
    part: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is ready to be stored, and its passages."""

    document: Document
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What storing did; a duplicate's `doc_id` is the document that has the same text."""

    state: Literal["stored", "duplicate", "unchanged"]
    doc_id: str


def prepare(parsed: Parsed, origin: Origin, size: ChunkSize) -> Prepared:
    """Mask, describe and cut one document; pure and busy (about 1 s a megabyte).

    Raises:
        Unprocessable: the id that was given cannot be one.
    """
    text = pii.mask(parsed.text)
    meta = masked(_merged(parsed.meta, origin))
    checksum = hashlib.sha256(text.encode()).hexdigest()
    document = Document(
        id=_identity(meta.id, origin, checksum),
        title=pii.mask(meta.title or _stem(origin.name) or _first_line(text))[:MAX_TITLE_CHARS],
        text=text,
        checksum=checksum,
        language=meta.language or language.detect(text),
        format=origin.format,
        source_url=meta.source_url,
        date=meta.date,
        version=meta.version,
        license=meta.license,
        tags=meta.tags,
        category=meta.category,
    )
    return Prepared(document, _passages(document, size))


def _merged(found: ItemMeta, origin: Origin) -> ItemMeta:
    if origin.part is None:
        return origin.meta.over(found)
    # The caller named the file, not each document in it.
    given = replace(origin.meta, id=None, title=None)
    named = f"{origin.meta.id}-{origin.part}" if origin.meta.id else None
    return replace(given.over(found), id=found.id or named)


def _identity(given: str | None, origin: Origin, checksum: str) -> str:
    if given is not None:
        return checked_id(given)
    if origin.part is None and origin.name:
        return slug(origin.name)
    return f"doc-{checksum[:16]}"


def checked_id(given: str) -> str:
    """Return `given` if it can be a document's id.

    Raises:
        Unprocessable: too long, empty, or with characters that cannot be printed.
    """
    if not 0 < len(given) <= MAX_ID_CHARS or not given.isprintable():
        raise Unprocessable(f"A document id has 1 to {MAX_ID_CHARS} printable characters.")
    return given


def slug(name: str) -> str:
    """A readable id for a file's name or address, the same for the same name only."""
    composed = unicodedata.normalize("NFC", name.strip())
    safe = UNSAFE.sub("-", re.sub(r"\Ahttps?://", "", composed)).strip("-.")[:MAX_SLUG_CHARS]
    if safe == composed:
        return safe
    return f"{safe}-{hashlib.sha256(composed.encode()).hexdigest()[:8]}".lstrip("-")


def _stem(name: str) -> str:
    return unicodedata.normalize("NFC", PurePosixPath(name.rstrip("/")).stem)


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:80]


def _passages(document: Document, size: ChunkSize) -> tuple[Passage, ...]:
    pieces = chunk(document.text, max_tokens=size.max_tokens, overlap_tokens=size.overlap_tokens)
    source = Source(document.title, document.source_url, document.date, document.version)
    return tuple(
        Passage(
            # With the text's checksum, so that a vector of the old text never fits the new one.
            chunk_id=f"{document.id}:{ordinal}:{document.checksum[:8]}",
            doc_id=document.id,
            title=document.title,
            text=document.text[piece.start : piece.end],
            start=piece.start,
            end=piece.end,
            language=language.detect(document.text[piece.start : piece.end]),
            tags=document.tags,
            category=document.category,
            source=source,
        )
        for ordinal, piece in enumerate(pieces)
    )


async def store(s: Session, block: Sequence[Prepared], *, now: float) -> list[Outcome]:
    """Store documents that are not there yet; safe to repeat, part of the caller's transaction.

    The same text under another id is a duplicate of that one. The same id with another text
    replaces the text, its chunks and vectors; with other fields only, the fields.
    """
    known = await documents.same(
        s,
        ids=[each.document.id for each in block],
        checksums=[each.document.checksum for each in block],
    )
    present = {each.id: each for each in known}
    changed: dict[str, Prepared] = {}
    recut: dict[str, Sequence[Passage]] = {}
    outcomes = []
    for each in block:
        new = each.document
        outcome = _judge(new, present)
        outcomes.append(outcome)
        if outcome.state == "stored":
            before = present.get(new.id)
            if before is None or before.checksum != new.checksum:
                recut[new.id] = each.passages
            present[new.id] = replace(new, text="")
            changed[new.id] = each
    await documents.put(s, [each.document for each in changed.values()], now=now)
    await documents.put_chunks(s, recut)
    return outcomes


def _judge(new: Document, present: Mapping[str, Document]) -> Outcome:
    owner = next((each for each in present.values() if each.checksum == new.checksum), None)
    if owner is not None and owner.id != new.id:
        return Outcome("duplicate", owner.id)
    if present.get(new.id) == replace(new, text=""):
        return Outcome("unchanged", new.id)
    return Outcome("stored", new.id)
