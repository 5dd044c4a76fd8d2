"""All readers, one line each; imported by the worker process only, because parsers are heavy."""

from __future__ import annotations

from apps.ingestion.readers import csv, docx, html, hwp, jsonl, md, pdf, txt
from apps.ingestion.readers.reader import Reader

READERS: tuple[Reader, ...] = (
    pdf.READER,
    docx.READER,
    html.READER,
    md.READER,
    txt.READER,
    csv.READER,
    jsonl.READER,
    hwp.READER,
    hwp.READER_X,
)


def reader_of(name: str) -> Reader:
    """The reader of a format."""
    return next(reader for reader in READERS if reader.format == name)
