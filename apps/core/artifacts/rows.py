"""The passages of a version as numbered rows, read one at a time from a memory map.

A row keeps its number for as long as its version is extended, because the lexical index
refers to it; a deleted row is `null`. Three files:
    meta-<v>.json     a JSON array, one passage (or null) a line
    offsets-<v>.npy   (rows, 2) int64, where each line's value begins and ends, in bytes
    columns-<v>.json  what filters ask for, as one array a field
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import orjson
from numpy.typing import NDArray

from apps.core.domain.models import Language, Passage, Source

DEAD = b"null"


class Columns(TypedDict):
    """One array a field; a dead row has chunk id None and empty values."""

    chunk_id: list[str | None]
    doc_id: list[str]
    language: list[Language]
    date: list[str | None]
    tags: list[list[str]]
    category: list[list[str]]


class _SourceLine(TypedDict):
    title: str
    url: str | None
    date: str | None
    version: str | None


class _Line(TypedDict):
    chunk_id: str
    doc_id: str
    title: str
    text: str
    start: int
    end: int
    language: Language
    tags: list[str]
    category: list[str]
    source: NotRequired[_SourceLine]


def encode(passage: Passage) -> bytes:
    """A passage as one line of the meta file."""
    return orjson.dumps(asdict(passage))


def decode(line: bytes) -> Passage:
    """The passage of a line that is not dead."""
    fields: _Line = orjson.loads(line)
    return Passage(
        chunk_id=fields["chunk_id"],
        doc_id=fields["doc_id"],
        title=fields["title"],
        text=fields["text"],
        start=fields["start"],
        end=fields["end"],
        language=fields["language"],
        tags=tuple(fields["tags"]),
        category=tuple(fields["category"]),
        source=Source(**fields.get("source", {})),
    )


def no_columns() -> Columns:
    """Columns without rows."""
    return Columns(chunk_id=[], doc_id=[], language=[], date=[], tags=[], category=[])


def append(columns: Columns, passage: Passage) -> None:
    """Add a row to `columns`."""
    columns["chunk_id"].append(passage.chunk_id)
    columns["doc_id"].append(passage.doc_id)
    columns["language"].append(passage.language)
    columns["date"].append(passage.source.date)
    columns["tags"].append(list(passage.tags))
    columns["category"].append(list(passage.category))


def kill(columns: Columns, row: int) -> None:
    """Make a row of `columns` dead."""
    columns["chunk_id"][row] = columns["date"][row] = None
    columns["doc_id"][row] = ""
    columns["tags"][row] = []
    columns["category"][row] = []


def write(directory: Path, version: str, lines: Iterable[bytes], columns: Columns) -> None:
    """Write the three files."""
    spans: list[tuple[int, int]] = []
    with (directory / f"meta-{version}.json").open("wb") as handle:
        at = handle.write(b"[")
        for number, line in enumerate(lines):
            at += handle.write(b",\n" if number else b"\n")
            spans.append((at, at + len(line)))
            at += handle.write(line)
        handle.write(b"\n]\n")
    offsets = np.array(spans, dtype=np.int64).reshape(-1, 2)
    np.save(directory / f"offsets-{version}.npy", offsets)
    (directory / f"columns-{version}.json").write_bytes(orjson.dumps(columns))


@dataclass(frozen=True, slots=True)
class Rows:
    """The open rows of a version."""

    lines: mmap.mmap
    offsets: NDArray[np.int64]
    columns: Columns
    row_of: dict[str, int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.offsets)

    def line(self, row: int) -> bytes:
        """The bytes of a row."""
        start, end = self.offsets[row]
        return self.lines[start:end]

    def passage(self, row: int) -> Passage:
        """The passage of a row that is alive."""
        return decode(self.line(row))

    def find(self, chunk_id: str) -> Passage | None:
        """The passage of a chunk, None when this version does not have it."""
        row = self.row_of.get(chunk_id)
        return None if row is None else self.passage(row)


def open_rows(directory: Path, version: str) -> Rows:
    """Open the three files of a verified version."""
    with (directory / f"meta-{version}.json").open("rb") as handle:
        lines = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    columns: Columns = orjson.loads((directory / f"columns-{version}.json").read_bytes())
    row_of = {name: row for row, name in enumerate(columns["chunk_id"]) if name is not None}
    return Rows(lines, np.load(directory / f"offsets-{version}.npy"), columns, row_of)
