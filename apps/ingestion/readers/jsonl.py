"""Many documents in one file, a JSON object a line; or one table of records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from apps.core.errors import Unprocessable
from apps.ingestion.items import Parsed, meta_from
from apps.ingestion.readers.encoding import decode
from apps.ingestion.readers.reader import Reader

# A line that says it is something else (a question of an evaluation set) is passed over.
DOCUMENT_TYPES = (None, "passage", "document")


def read(content: bytes) -> Sequence[Parsed]:
    """One document for each line with a `text`; a file without any is a table, one document.

    Raises:
        Unprocessable: names the first line that cannot be used; no line is lost unseen.
    """
    lines = enumerate(decode(content).split("\n"), start=1)
    rows = [(number, _row(number, line)) for number, line in lines if line.strip()]
    rows = [(number, row) for number, row in rows if row.get("type") in DOCUMENT_TYPES]
    if rows and not any("text" in row for _, row in rows):
        return [Parsed("\n\n".join(_record(row) for _, row in rows))]
    return [Parsed(_text(number, row), meta_from(row)) for number, row in rows]


def _row(number: int, line: str) -> dict[str, object]:
    try:
        # The standard library's, because files escape lone surrogates that stricter ones refuse.
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise Unprocessable(f"Line {number} is not a JSON object.")
    return row


def _text(number: int, row: Mapping[str, object]) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise Unprocessable(f"Line {number} has no field 'text' that holds a string.")
    return text


def _record(row: Mapping[str, object]) -> str:
    if set(row) == {"question", "answer"}:
        return f"{row['question']}\n{row['answer']}"
    cells = {name: _cell(value) for name, value in row.items()}
    return "; ".join(f"{name}: {cell}" for name, cell in cells.items() if cell)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""


READER = Reader("jsonl", read)
