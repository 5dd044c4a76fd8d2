"""Looks at an archive before anybody opens it: bombs, tricks with paths, entities, locks."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import PurePosixPath

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree

from apps.core.errors import TooLarge, UnsupportedOperation

MAX_MEMBERS = 10_000
MAX_TOTAL_BYTES = 500_000_000
# Deflate packs text about 5 to 20 times and nothing better than 1,032 times.
MAX_RATIO = 200
RATIO_FROM_BYTES = 10_000_000
ENCRYPTED_BIT = 0x1
ARCHIVE_MAGIC = (b"PK\x03\x04", b"7z\xbc\xaf", b"Rar!")
# Office files carry pictures and sheets that are archives themselves; no reader opens them.
ATTACHMENTS = ("word/embeddings/", "word/media/", "BinData/")


def open_safely(content: bytes) -> zipfile.ZipFile:
    """Open a ZIP archive that passed all checks.

    Raises:
        TooLarge: too many members, too many bytes, or packed too tightly to be honest.
        UnsupportedOperation: encrypted, an archive within it, a member outside of it, or an XML
            member with a document type (where entities are declared).
    """
    archive = zipfile.ZipFile(BytesIO(content))
    members = archive.infolist()
    _check_sizes(members, len(content))
    for member in members:
        _check_member(archive, member)
    return archive


def _check_sizes(members: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise TooLarge(f"The archive has more than {MAX_MEMBERS} members.")
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        raise TooLarge(f"The archive unpacks to more than {MAX_TOTAL_BYTES} bytes.")
    if total > RATIO_FROM_BYTES and total > MAX_RATIO * packed_bytes:
        raise TooLarge(f"The archive is packed more than {MAX_RATIO} times.")


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    name = member.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise UnsupportedOperation("The archive has a member outside of its own directory.")
    if member.flag_bits & ENCRYPTED_BIT:
        raise UnsupportedOperation("The file is encrypted.")
    if member.is_dir():
        return
    if name.endswith((".xml", ".rels", ".hpf")):
        _check_xml(archive, member)
    elif not name.startswith(ATTACHMENTS):
        with archive.open(member) as stream:
            if stream.read(4) in ARCHIVE_MAGIC:
                raise UnsupportedOperation("The archive has another archive in it.")


def _check_xml(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as stream:
        try:
            # A document type stands before the first element, so the first one is far enough.
            next(SafeTree.iterparse(stream, events=("start",), forbid_dtd=True), None)
        except DefusedXmlException:
            raise UnsupportedOperation("The file declares XML entities.") from None
        except SafeTree.ParseError:
            return  # broken XML is the reader's to judge
