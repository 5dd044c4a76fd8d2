"""Word documents: paragraphs and tables in their order, page headers first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO

from docx import Document
from docx.document import Document as Word
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table, _Cell
from docx.text.paragraph import Paragraph

from apps.core.errors import Unprocessable
from apps.ingestion.items import ItemMeta, Parsed
from apps.ingestion.readers.archive import open_safely
from apps.ingestion.readers.reader import Reader

MAX_TABLE_DEPTH = 8


def read(content: bytes) -> Sequence[Parsed]:
    """One document for the whole file; a row of a table is a line `cell | cell`."""
    open_safely(content).close()
    try:
        word = Document(BytesIO(content))
    except (PackageNotFoundError, KeyError, ValueError) as error:
        raise Unprocessable("The Word file is damaged.") from error
    blocks = [*_page_headers(word), *_blocks(word, 0)]
    return [Parsed("\n\n".join(filter(None, blocks)), _meta(word))]


def _page_headers(word: Word) -> list[str]:
    texts = (
        paragraph.text.strip()
        for section in word.sections
        for part in (section.header, section.footer)
        if not part.is_linked_to_previous
        for paragraph in part.paragraphs
    )
    # Page numbers alone say nothing.
    return list(dict.fromkeys(text for text in texts if any(map(str.isalpha, text))))


def _blocks(parent: Word | _Cell, depth: int) -> Iterator[str]:
    for block in parent.iter_inner_content():
        if isinstance(block, Paragraph):
            yield block.text.strip()
        elif depth < MAX_TABLE_DEPTH:
            yield "\n".join(filter(None, _rows(block, depth)))


def _rows(table: Table, depth: int) -> Iterator[str]:
    for row in table.rows:
        # A merged cell is listed once for each column that it spans.
        cells = dict.fromkeys(row.cells)
        texts = (" ".join(" ".join(_blocks(cell, depth + 1)).split()) for cell in cells)
        yield " | ".join(text for text in texts if text)


def _meta(word: Word) -> ItemMeta:
    fields = word.core_properties
    created = fields.modified or fields.created
    return ItemMeta(
        title=fields.title.strip() or None,
        date=created.date().isoformat() if created else None,
    )


READER = Reader("docx", read)
