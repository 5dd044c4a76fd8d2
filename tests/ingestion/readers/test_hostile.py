"""Locked, damaged and hostile files are refused with a reason, never with an empty document."""

from __future__ import annotations

import random
import struct
import zipfile
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter

from apps.core.errors import DtRagError, TooLarge, Unprocessable, UnsupportedOperation
from apps.ingestion.readers import archive, md
from apps.ingestion.readers.reader import read_clean
from apps.ingestion.readers.registry import reader_of
from apps.ingestion.sniff import sniff
from tests.ingestion import files


def locked_pdf() -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(files.pdf(["secret"]))))
    writer.encrypt("password", algorithm="AES-256")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def locked_zip() -> bytes:
    content = bytearray(files.archive({"word/document.xml": "<a/>"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pdf", locked_pdf()),
        ("hwp", files.hwp(["x"], properties=3)),
        ("hwp", files.hwp(["x"], properties=0x11)),
        ("hwp", files.hwp(["x"], properties=5)),
        ("hwpx", files.hwpx(["x"], locked=True)),
        ("docx", locked_zip()),
    ],
)
def test_locked_files_are_refused(name: str, content: bytes) -> None:
    """Passwords, copy protection and distribution files are named as such."""
    with pytest.raises(UnsupportedOperation, match=r"encrypted|protected"):
        read_clean(reader_of(name), content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pdf", b"%PDF-1.7\nnothing"),
        ("docx", files.archive({"word/document.xml": "<a/>"})),
        ("hwp", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("hwp", files.hwp(["글"])[:1500]),
    ],
)
def test_damaged_files_are_refused(name: str, content: bytes) -> None:
    """A damaged file is a failure of that file."""
    with pytest.raises((Unprocessable, OSError)):
        read_clean(reader_of(name), content)


def zip_of(names: list[str], content: bytes = b"x") -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(info, content)
    return out.getvalue()


@pytest.mark.parametrize("name", ["../a", "/etc/x", "a/../../b", "a\\..\\b", "C:/x"])
def test_paths_that_leave_the_archive_are_refused(name: str) -> None:
    """No member may point outside."""
    with pytest.raises(UnsupportedOperation, match="outside"):
        archive.open_safely(zip_of([name]))


def test_bombs_are_refused_before_they_are_opened() -> None:
    """Too many members, too many bytes, and too high a ratio each stop at the list of members."""
    with pytest.raises(TooLarge, match="members"):
        archive.open_safely(zip_of([f"f{n}" for n in range(10_001)]))
    with pytest.raises(TooLarge, match="packed"):
        archive.open_safely(zip_of(["a.bin"], b"\0" * 20_000_000))
    huge = bytearray(zip_of(["a.bin"], random.Random(1).randbytes(1000)))
    at = huge.index(b"PK\x01\x02") + 24
    huge[at : at + 4] = struct.pack("<I", 600_000_000)
    with pytest.raises(TooLarge, match="unpacks"):
        archive.open_safely(bytes(huge))


def test_an_archive_within_an_archive_is_refused_unless_it_is_an_attachment() -> None:
    """Nesting is refused; sheets and pictures that Word itself embeds are never opened."""
    inner = zip_of(["x"])
    with pytest.raises(UnsupportedOperation, match="another archive"):
        archive.open_safely(zip_of(["innocent.bin"], inner))
    archive.open_safely(zip_of(["word/embeddings/sheet.xlsx"], inner)).close()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_declared_entities_are_refused(encoding: str) -> None:
    """A billion laughs needs a document type, which is refused in any encoding."""
    bomb = (
        f"<?xml version='1.0' encoding='{encoding}'?><!DOCTYPE a [<!ENTITY b 'ha'>"
        "<!ENTITY c '&b;&b;'>]><a>&c;</a>"
    ).encode(encoding)
    with pytest.raises(UnsupportedOperation, match="entities"):
        archive.open_safely(files.archive({"word/document.xml": bomb}))


@pytest.mark.parametrize(
    ("name", "content", "format_"),
    [
        ("a.docx", files.pdf(["x"]), "pdf"),
        ("a.txt", files.docx(["x"]), "docx"),
        ("a", files.hwpx(["x"]), "hwpx"),
        ("a.pdf", files.hwp(["x"]), "hwp"),
        ("a.txt", b"<!-- c -->\n<!DOCTYPE html><html>", "html"),
        ("a.txt", b'{"text":"x"}\n', "jsonl"),
        ("a.txt", b'{"text": a}', "txt"),
        ("a.MD", "# 글".encode(), "md"),
        ("a.tsv", b"a\tb", "csv"),
        ("보고서.txt", "글".encode("utf-16"), "txt"),
        ("보고서.txt", "한글 문장.".encode("utf-16-be"), "txt"),
        ("보고서", "글".encode("cp949"), "txt"),
    ],
)
def test_the_content_decides(name: str, content: bytes, format_: str) -> None:
    """The name is asked only among kinds of plain text."""
    assert sniff(name, content) == format_


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        b"\x7fELF" + bytes(60),
        b"{\\rtf1 x}",
        files.archive({"a.txt": "x"}),
        b"PK\x03\x04 broken",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
        random.Random(3).randbytes(4096),
    ],
)
def test_what_nobody_reads_is_refused(content: bytes) -> None:
    """Pictures, programs, unknown archives and locked Office files have no reader."""
    with pytest.raises(UnsupportedOperation):
        sniff("a.txt", content)


@given(
    st.sampled_from(["pdf", "docx", "hwpx", "hwp"]),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=20),
    st.floats(0.2, 1),
)
def test_damaged_bytes_never_hang_or_give_nothing(
    name: str, flips: list[tuple[float, int]], kept: float
) -> None:
    """Flipped bytes and cut files give text or an error; the worker turns any error into one."""
    whole = {
        "pdf": files.pdf(["글 x"]),
        "docx": DOCX,
        "hwpx": files.hwpx(["글"]),
        "hwp": files.hwp(["글"]),
    }[name]
    content = bytearray(whole)
    for place, value in flips:
        content[int(place * len(content))] = value
    try:
        documents = read_clean(reader_of(name), bytes(content[: int(kept * len(content))]))
    except DtRagError as error:
        assert error.detail
    except Exception as error:
        assert not isinstance(error, AssertionError)
    else:
        assert all(document.text for document in documents)


DOCX = files.docx(["글"])


@pytest.mark.parametrize("unit", ["[", "**a", "*a ", "<a ", "`", "[x](", "__", "|", "> ", "\\"])
def test_markdown_of_one_sign_ends(unit: str) -> None:
    """A line of 200,000 equal signs is read in linear time."""
    assert md.plain(unit * (200_000 // len(unit))) is not None
