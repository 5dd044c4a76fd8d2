"""Many documents in one file, a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from apps.core.errors import Unprocessable
from apps.ingestion.items import Parsed, meta_from
from apps.ingestion.readers.encoding import decode
from apps.ingestion.readers.reader import Reader

# A line that says it is something else (a question of an evaluation set) is passed over.
DOCUMENT_TYPES = (None, "passage", "document")


def read(content: bytes) -> Sequence[Parsed]:
    """One document for each line; all or nothing, so that no line is lost unseen.

    Raises:
        Unprocessable: names the first line that cannot be used.
    """
    lines = enumerate(decode(content).split("\n"), start=1)
    rows = ((number, _row(number, line)) for number, line in lines if line.strip())
    return [
        Parsed(_text(number, row), meta_from(row))
        for number, row in rows
        if row.get("type") in DOCUMENT_TYPES
    ]


def _row(number: int, line: str) -> dict[str, object]:
    try:
        # The standard library's, because files escape lone surrogates that stricter ones refuse.
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise Unprocessable(f"Line {number} is not a JSON object.")
    return row


def _text(number: int, row: dict[str, object]) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise Unprocessable(f"Line {number} has no field 'text' that holds a string.")
    return text


READER = Reader("jsonl", read)
