"""Decides what a file is by its content; the name helps only among kinds of plain text."""

from __future__ import annotations

import codecs
import re
import zipfile
from io import BytesIO
from pathlib import PurePath

import orjson

from apps.core.errors import UnsupportedOperation
from apps.ingestion.items import Format
from apps.ingestion.readers.encoding import wide

COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # [MS-CFB] 2.2
HWP_SIGNATURE = b"HWP Document File"
LOCKED_OFFICE = "EncryptedPackage".encode("utf-16-le")  # [MS-OFFCRYPTO] 2.3.4.4
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MARKUP = re.compile(
    rb"(?:\s|<\?xml[^>]*>|<!--(?:(?!-->).)*-->)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
NO_TEXT = (b"{\\rtf", b"\x7fELF", b"\x89PNG", b"GIF8", b"\x1f\x8b")
BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
HEAD_BYTES = 4096
BINARY_SHARE = 0.02
BY_NAME: dict[str, Format] = {
    ".md": "md",
    ".markdown": "md",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".html": "html",
    ".htm": "html",
}


def sniff(name: str, content: bytes) -> Format:
    """Name the format of `content`.

    Raises:
        UnsupportedOperation: no reader knows it, or it is locked.
    """
    head = content[:HEAD_BYTES]
    if b"%PDF-" in head[:1024]:  # ISO 32000-1, implementation note 13
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return _in_zip(content)
    if head.startswith(COMPOUND):
        return _in_compound(content)
    if not _is_text(head):
        raise UnsupportedOperation(f"The format of {PurePath(name).name!r} is not supported.")
    return _kind_of_text(name, content)


def _in_zip(content: bytes) -> Format:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile as error:
        raise UnsupportedOperation("The archive is damaged.") from error
    if "word/document.xml" in names:
        return "docx"
    if any(name.startswith("Contents/section") for name in names):
        return "hwpx"
    raise UnsupportedOperation("The archive is neither a Word nor an HWPX document.")


def _in_compound(content: bytes) -> Format:
    if HWP_SIGNATURE in content:
        return "hwp"
    if LOCKED_OFFICE in content:
        raise UnsupportedOperation("The file is encrypted.")
    raise UnsupportedOperation("Old binary Office documents are not supported.")


def _is_text(head: bytes) -> bool:
    if head.startswith(WIDE_MARKS):
        return True
    if head.startswith(NO_TEXT):
        return False
    return len(BINARY.findall(head)) <= BINARY_SHARE * len(head) or wide(head) is not None


def _kind_of_text(name: str, content: bytes) -> Format:
    if MARKUP.match(content[:HEAD_BYTES].removeprefix(codecs.BOM_UTF8)):
        return "html"
    if _is_json_line(content):
        return "jsonl"
    return BY_NAME.get(PurePath(name.lower()).suffix, "txt")


def _is_json_line(content: bytes) -> bool:
    first = content.removeprefix(codecs.BOM_UTF8).lstrip().split(b"\n", 1)[0]
    if not first.startswith(b"{"):
        return False
    try:
        return isinstance(orjson.loads(first), dict)
    except orjson.JSONDecodeError:
        return False
