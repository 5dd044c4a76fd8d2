"""Tables as text: each row a paragraph of `column: value` pairs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from apps.core.errors import Unprocessable
from apps.ingestion.items import Parsed
from apps.ingestion.readers.encoding import decode
from apps.ingestion.readers.reader import Reader

DELIMITERS = ",;\t|"
MAX_FIELD_CHARS = 10_000_000
MAX_NAME_CHARS = 80
SAMPLE_ROWS = 20


def read(content: bytes) -> Sequence[Parsed]:
    """One document for the table; an empty cell is left out."""
    text = decode(content)
    csv.field_size_limit(MAX_FIELD_CHARS)
    try:
        rows = [row for row in csv.reader(StringIO(text), delimiter=_delimiter(text)) if any(row)]
    except csv.Error as error:
        raise Unprocessable("The table is damaged.") from error
    names = [name.strip() for name in rows[0]] if has_header(rows) else []
    return [Parsed("\n\n".join(_line(row, names) for row in rows[bool(names) :]))]


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: distinct short words, no numbers, rows below."""
    if len(rows) < 2:
        return False
    first = [cell.strip() for cell in rows[0]]
    named = all(cell and len(cell) <= MAX_NAME_CHARS and not _number(cell) for cell in first)
    return named and len(set(first)) == len(first) and len(first) >= len(rows[1]) - 1


def _number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").lstrip("+-").isdigit()


def _delimiter(text: str) -> str:
    """The one that cuts the first lines into the same number of cells, and into the most."""
    lines = text.splitlines()[:SAMPLE_ROWS]

    def regularity(delimiter: str) -> tuple[bool, int]:
        counts = {line.count(delimiter) for line in lines if line.strip()}
        return len(counts) == 1 and counts != {0}, max(counts, default=0)

    return max(DELIMITERS, key=regularity)


def _line(row: Sequence[str], names: Sequence[str]) -> str:
    cells = [" ".join(cell.split()) for cell in row]
    named = [f"{name}: {cell}" for name, cell in zip(names, cells, strict=False) if cell]
    return "; ".join([*named, *filter(None, cells[len(names) :])])


READER = Reader("csv", read)
