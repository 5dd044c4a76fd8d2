"""Plain readings of the sample documents, independent of the product's own readers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import docx
import pypdfium2
from hwp_hwpx_parser import Reader
from selectolax.lexbor import LexborHTMLParser

FENCE = "---\n"


def front_matter(path: Path) -> dict[str, object]:
    """The head of a Markdown document; every value is written as JSON, which YAML includes."""
    head = path.read_text(encoding="utf-8").split(FENCE, 2)[1]
    pairs = (line.split(": ", 1) for line in head.splitlines())
    return {key: json.loads(value) for key, value in pairs}


def text_of(path: Path) -> str:
    """The text of a document; a file that is not of its format raises."""
    return READERS[path.suffix](path)


def _txt(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _md(path: Path) -> str:
    return _txt(path).split(FENCE, 2)[2]


def _html(path: Path) -> str:
    body = LexborHTMLParser(_txt(path)).body
    assert body is not None
    return body.text(separator=" ")


def _csv(path: Path) -> str:
    rows = list(csv.reader(_txt(path).splitlines(), strict=True))
    assert len({len(row) for row in rows}) == 1, "rows differ in length"
    return "\n".join(" | ".join(row) for row in rows)


def _jsonl(path: Path) -> str:
    rows = [json.loads(line) for line in _txt(path).splitlines()]
    return "\n".join(" ".join(row.values()) for row in rows)


def _docx(path: Path) -> str:
    document = docx.Document(str(path))
    paragraphs = [paragraph.text for paragraph in document.paragraphs]
    rows = [[cell.text for cell in row.cells] for table in document.tables for row in table.rows]
    return "\n".join([*paragraphs, *(" | ".join(row) for row in rows)])


def _pdf(path: Path) -> str:
    document = pypdfium2.PdfDocument(path)
    return "\n".join(page.get_textpage().get_text_bounded() for page in document)


def _hwpx(path: Path) -> str:
    with Reader(path) as reader:
        return str(reader.text)


READERS: dict[str, Callable[[Path], str]] = {
    ".txt": _txt,
    ".md": _md,
    ".html": _html,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".docx": _docx,
    ".pdf": _pdf,
    ".hwpx": _hwpx,
}
