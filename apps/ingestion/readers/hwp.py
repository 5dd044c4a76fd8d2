"""Hangul word processor files: HWP 5 (compound binary) and HWPX (ZIP of XML)."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hwp_hwpx_parser import ExtractOptions, HWP5Reader, HWPXReader, ImageMarkerStyle

from apps.core.errors import Unprocessable, UnsupportedOperation
from apps.ingestion.items import Parsed
from apps.ingestion.readers import md
from apps.ingestion.readers.archive import open_safely
from apps.ingestion.readers.reader import Reader

# "한글 문서 파일 형식 5.0", Hancom 2018, table 3 (file header): bits of the properties.
PASSWORD, DISTRIBUTION, DRM = 0x2, 0x4, 0x10
SIGNATURE = b"HWP Document File"
PROPERTIES_AT = 36


def read_hwp(content: bytes) -> Sequence[Parsed]:
    """One document for the file, foot- and endnotes at its end."""
    _refuse_locked(content)
    with tempfile.TemporaryDirectory(prefix="dtrag-") as directory:
        path = Path(directory) / "document.hwp"
        path.write_bytes(content)
        return [_extract(HWP5Reader(str(path)))]


def read_hwpx(content: bytes) -> Sequence[Parsed]:
    """One document for the file, foot- and endnotes at its end."""
    open_safely(content).close()
    with tempfile.TemporaryDirectory(prefix="dtrag-") as directory:
        path = Path(directory) / "document.hwpx"
        path.write_bytes(content)
        reader = HWPXReader(str(path))
        if reader.is_encrypted():
            reader.close()
            raise UnsupportedOperation("The file is encrypted.")
        return [_extract(reader)]


def _refuse_locked(content: bytes) -> None:
    # The header is one stream that starts with its signature and fits into one sector.
    header = content.find(SIGNATURE)
    if header < 0 or len(content) < header + PROPERTIES_AT + 4:
        raise Unprocessable("The HWP file is damaged.")
    (properties,) = struct.unpack_from("<I", content, header + PROPERTIES_AT)
    if properties & PASSWORD:
        raise UnsupportedOperation("The file is encrypted.")
    if properties & (DISTRIBUTION | DRM):
        raise UnsupportedOperation("The file is protected against copying.")


def _extract(reader: HWP5Reader | HWPXReader) -> Parsed:
    options = ExtractOptions(image_marker=ImageMarkerStyle.NONE, line_separator="\n\n")
    with reader:
        found = reader.extract_text_with_notes(options)
    notes = [note.text for note in (*found.footnotes, *found.endnotes)]
    lines = "\n\n".join([found.text, *notes]).split("\n")
    # Tables arrive as Markdown; their rows become `cell | cell` as in the other formats.
    return Parsed("\n".join(_plain(line) for line in lines if not md.TABLE_RULE.match(line)))


def _plain(line: str) -> str:
    return md.inline(line) if md.TABLE_ROW.match(line) else line


READER = Reader("hwp", read_hwp)
READER_X = Reader("hwpx", read_hwpx)
