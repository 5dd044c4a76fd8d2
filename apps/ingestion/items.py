"""What enters the ingestion, and what a caller may see of it on the way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Literal, get_args

from apps.core.domain.models import JobState, Language
from apps.core.text import pii

Format = Literal["pdf", "docx", "html", "md", "txt", "csv", "jsonl", "hwp", "hwpx"]
ItemState = Literal["queued", "stored", "duplicate", "unchanged", "failed"]
FORMATS: tuple[Format, ...] = get_args(Format)
ITEM_STATES: tuple[ItemState, ...] = get_args(ItemState)

DATE = re.compile(r"(\d{4})[-./](\d{1,2})[-./](\d{1,2})")
SHORT_CHARS = 64  # width of the columns for version and license

# Everything that is not text: C0 and C1 controls but tab and newline, lone surrogates, NUL,
# non-characters, byte order marks within the text.
DIRT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
NEWLINE = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*){2,}")


@dataclass(frozen=True, slots=True)
class ItemMeta:
    """What is known of a document besides its text; `date` is an ISO date."""

    id: str | None = None
    title: str | None = None
    source_url: str | None = None
    tags: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    language: Language | None = None
    date: str | None = None
    version: str | None = None
    license: str | None = None

    def over(self, other: ItemMeta) -> ItemMeta:
        """This, and `other` where this says nothing."""
        gaps = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if not getattr(self, field.name)
        }
        return replace(self, **gaps)


@dataclass(frozen=True, slots=True)
class NewItem:
    """A file, or a text, that someone wants to be searchable.

    `format` is given for a text that is what it is (a JSON body's `text` is `txt`, whatever it
    looks like); None lets the content decide.
    """

    name: str
    content: bytes
    meta: ItemMeta = ItemMeta()
    format: Format | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document as a reader found it: clean text, and what the file says of itself."""

    text: str
    meta: ItemMeta = ItemMeta()


@dataclass(frozen=True, slots=True)
class ItemView:
    """How far one item is; `doc_ids` are its documents, or the one it duplicates."""

    name: str
    state: ItemState
    doc_ids: tuple[str, ...]
    error_code: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class JobView:
    """How far a job is; `counts` has every item state, `total` and `finished` count items.

    For a job of kind `embed` they count vectors, and there are no items.
    """

    id: str
    kind: Literal["ingest", "delete", "embed"]
    state: JobState
    total: int
    finished: int
    attempts: int
    error_code: str | None
    error: str | None
    counts: Mapping[ItemState, int]
    items: tuple[ItemView, ...]
    created_at: float
    updated_at: float


def clean(text: str) -> str:
    """Composed characters (NFC), plain newlines, no control characters, no lone surrogates."""
    text = DIRT.sub("", NEWLINE.sub("\n", text))
    text = unicodedata.normalize("NFC", text)
    return BLANK_LINES.sub("\n\n", text).strip()


def meta_from(values: Mapping[str, object]) -> ItemMeta:
    """Read fields (front matter, a JSON line, a stored row); what cannot be used is left out."""
    return ItemMeta(
        id=_text(values.get("id")),
        title=_text(values.get("title")),
        source_url=_text(values.get("source_url") or values.get("url")),
        tags=_texts(values.get("tags")),
        category=_texts(values.get("category")),
        language=_language(values.get("language") or values.get("lang")),
        date=iso_date(values.get("date")),
        version=_text(values.get("version"), SHORT_CHARS),
        license=_text(values.get("license"), SHORT_CHARS),
    )


def masked(meta: ItemMeta) -> ItemMeta:
    """`meta` without personal data, save in `id`, which is how its owner finds it again."""
    return replace(
        meta,
        title=_covered(meta.title),
        source_url=_covered(meta.source_url),
        tags=tuple(map(pii.mask, meta.tags)),
        category=tuple(map(pii.mask, meta.category)),
        version=_covered(meta.version, SHORT_CHARS),
        license=_covered(meta.license, SHORT_CHARS),
    )


def _covered(text: str | None, limit: int | None = None) -> str | None:
    return pii.mask(text)[:limit] if text else None


def iso_date(value: object) -> str | None:
    """The first date in `value` as YYYY-MM-DD, None when there is none."""
    match = DATE.search(str(value)) if value else None
    if match is None:
        return None
    try:
        return date(*map(int, match.groups())).isoformat()
    except ValueError:
        return None


def _text(value: object, limit: int = 2000) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return clean(str(value))[:limit] or None


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = re.split(r"[,/]", value)
    if not isinstance(value, list | tuple):
        return ()
    return tuple(text for text in map(_text, value) if text)


def _language(value: object) -> Language | None:
    word = str(value).lower() if value else ""
    if word.startswith("ko"):
        return "ko"
    return "en" if word.startswith("en") else None
