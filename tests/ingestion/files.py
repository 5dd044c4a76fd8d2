"""Small real files of every binary format, made of nothing but bytes and the public formats."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO

SECTOR = 512
FREE, END, FAT_SECTOR = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def pdf(pages: Sequence[str], *, title: str = "") -> bytes:
    """A PDF whose font is only a table from codes to Unicode, as pdfium needs for its text."""
    chars = sorted(set("".join(pages)))
    code = {char: number + 1 for number, char in enumerate(chars)}
    rows = "\n".join(f"<{code[c]:04x}> <{c.encode('utf-16-be').hex()}>" for c in chars)
    cmap = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n"
        "1 begincodespacerange <0000> <ffff> endcodespacerange\n"
        f"{len(chars)} beginbfchar\n{rows}\nendbfchar endcmap end end"
    )
    kids = " ".join(f"{8 + 2 * n} 0 R" for n in range(len(pages)))
    name = title.encode("utf-16-be").hex()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /F /Encoding /Identity-H"
        b" /DescendantFonts [4 0 R] /ToUnicode 5 0 R >>",
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /F /FontDescriptor 6 0 R /DW 1000"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>",
        _stream(cmap.encode()),
        b"<< /Type /FontDescriptor /FontName /F /Flags 4 /FontBBox [0 0 1000 1000] /ItalicAngle 0"
        b" /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >>",
        f"<< /Title <feff{name}> /CreationDate (D:20250131120000) >>".encode(),
    ]
    for number, text in enumerate(pages):
        lines = " T* ".join(
            f"<{''.join(f'{code[c]:04x}' for c in line)}> Tj" for line in text.split("\n")
        )
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 900 800]"
            b" /Resources << /Font << /F 3 0 R >> >> /Contents %d 0 R >>" % (9 + 2 * number),
            _stream(f"BT /F 10 Tf 14 TL 20 700 Td {lines} ET".encode()),
        ]
    return _assembled(objects)


def _stream(content: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)


def _assembled(objects: Sequence[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 7 0 R >>\n" % (len(objects) + 1)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def docx(paragraphs: Sequence[str], *, title: str = "", header: str = "") -> bytes:
    """A Word file with a heading style, a table, and a page header."""
    import docx as python_docx

    word = python_docx.Document()
    word.core_properties.title = title
    if header:
        word.sections[0].header.paragraphs[0].text = header
    word.add_heading(paragraphs[0], level=1)
    for text in paragraphs[1:]:
        word.add_paragraph(text)
    table = word.add_table(rows=2, cols=2)
    for row, cells in zip(table.rows, (("항목", "값"), ("온도", "36.5도")), strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    out = BytesIO()
    word.save(out)
    return out.getvalue()


def archive(members: Mapping[str, bytes | str]) -> bytes:
    """A ZIP archive."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return out.getvalue()


def hwpx(paragraphs: Sequence[str], *, locked: bool = False) -> bytes:
    """An HWPX file: OWPML paragraphs (KS X 6101) in a ZIP archive, with a table."""
    texts = "".join(f"<hp:p><hp:run><hp:t>{text}</hp:t></hp:run></hp:p>" for text in paragraphs)
    cells = "".join(
        f"<hp:tc><hp:subList><hp:p><hp:run><hp:t>{text}</hp:t></hp:run></hp:p></hp:subList></hp:tc>"
        for text in ("항목", "값")
    )
    table = f"<hp:p><hp:run><hp:tbl><hp:tr>{cells}</hp:tr></hp:tbl></hp:run></hp:p>"
    space = 'xmlns:hp="http://www.hancom.co.kr/hwpml/2011/paragraph"'
    manifest = "<m><encryption-data/></m>" if locked else "<m/>"
    return archive(
        {
            "mimetype": "application/hwp+zip",
            "META-INF/manifest.xml": manifest,
            "Contents/section0.xml": f"<?xml version='1.0'?><sec {space}>{texts}{table}</sec>",
        }
    )


def hwp(paragraphs: Sequence[str], *, properties: int = 1) -> bytes:
    """An HWP 5 file: paragraph records, deflated, in a compound file ([MS-CFB] version 3)."""
    records = b"".join(_paragraph(text) for text in paragraphs)
    squeezed = zlib.compressobj(wbits=-15)
    section = squeezed.compress(records) + squeezed.flush()
    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05000300, properties)
    return _compound({"FileHeader": header, "BodyText": None, "Section0": section})


def _paragraph(text: str) -> bytes:
    content = (text + "\r").encode("utf-16-le")
    tag = 0x43 | 1 << 10 | min(len(content), 0xFFF) << 20  # HWPTAG_PARA_TEXT, level 1
    long = struct.pack("<I", len(content)) if len(content) >= 0xFFF else b""
    return struct.pack("<I", tag) + long + content


def _compound(streams: Mapping[str, bytes | None]) -> bytes:
    """Streams of at least 4,096 bytes, so that no mini stream is needed; None is a storage."""
    sectors: list[bytes] = []
    fat: list[int] = []
    placed: dict[str, tuple[int, int]] = {}

    def place(content: bytes) -> int:
        first = len(sectors)
        count = -(-len(content) // SECTOR)
        sectors.extend(
            content[n * SECTOR : (n + 1) * SECTOR].ljust(SECTOR, b"\0") for n in range(count)
        )
        fat.extend([*range(first + 1, first + count), END])
        return first

    for name, content in streams.items():
        if content is not None:
            padded = content.ljust(4096, b"\0")
            placed[name] = (place(padded), len(padded))
    directory = [
        _entry("Root Entry", 5, child=2),
        _entry("FileHeader", 2, start=placed["FileHeader"]),
        _entry("BodyText", 1, left=1, child=3),
        _entry("Section0", 2, start=placed["Section0"]),
    ]
    first_directory = place(b"".join(directory))
    fat_at = len(sectors)
    fat.append(FAT_SECTOR)
    sectors.append(struct.pack("<128I", *fat, *[FREE] * (128 - len(fat))))
    head = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        0x3E, 3, 0xFFFE, 9, 6, 0, 1, first_directory, 0, 4096, END, 0, END, 0,
    )  # fmt: skip
    return head + struct.pack("<109I", fat_at, *[FREE] * 108) + b"".join(sectors)


def _entry(
    name: str, kind: int, *, left: int = FREE, child: int = FREE, start: tuple[int, int] = (0, 0)
) -> bytes:
    wide = (name + "\0").encode("utf-16-le")
    sizes = (len(wide), kind, 1, left, FREE, child)
    return struct.pack("<64sHBBIII16x4x16xIII", wide, *sizes, start[0], start[1], 0)
