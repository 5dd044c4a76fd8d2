"""PDF: text page by page through pdfium, with title and date from the file's own fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing

import pypdfium2

from apps.core.errors import Unprocessable, UnsupportedOperation
from apps.ingestion.items import ItemMeta, Parsed
from apps.ingestion.readers.reader import Reader

# pdfium writes U+FFFE (older versions U+0002) for a hyphen at the end of a line.
SOFT_HYPHEN = re.compile("[\ufffe\u00ad\u0002][ \t]*\r?\n")
# Names that writing programs put where a title belongs.
PROGRAM_TITLE = re.compile(r"Microsoft (?:Word|PowerPoint)|untitled|제목 ?없음|.*\.\w{3,4}\Z", re.I)
PDF_DATE = re.compile(r"D:(\d{4})(\d{2})(\d{2})")


def read(content: bytes) -> Sequence[Parsed]:
    """One document for the whole file; a blank line between pages."""
    with closing(_open(content)) as pdf:
        pages = [_page_text(pdf, number) for number in range(len(pdf))]
        fields = pdf.get_metadata_dict()
    text = SOFT_HYPHEN.sub("", "\n\n".join(pages))
    return [Parsed(text, _meta(fields))]


def _open(content: bytes) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        reason = str(error).lower()
        if "password" in reason or "security" in reason:
            raise UnsupportedOperation("The file is encrypted.") from error
        raise Unprocessable("The PDF file is damaged.") from error


def _page_text(pdf: pypdfium2.PdfDocument, number: int) -> str:
    try:
        with closing(pdf[number]) as page, closing(page.get_textpage()) as text_page:
            return str(text_page.get_text_bounded())
    except pypdfium2.PdfiumError:
        return ""  # one damaged page does not cost the others


def _meta(fields: dict[str, str]) -> ItemMeta:
    title = fields.get("Title", "").strip()
    created = PDF_DATE.match(fields.get("CreationDate", ""))
    return ItemMeta(
        title=title if title and not PROGRAM_TITLE.match(title) else None,
        date="-".join(created.groups()) if created else None,
    )


READER = Reader("pdf", read)
