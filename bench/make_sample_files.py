"""Write the PDF, DOCX and HWPX files of the sample corpus from their Markdown sources.

Run `python -m bench.make_sample_files` after a change in `bench/sample_sources/`. PDF needs
`fpdf2` and a Korean TrueType font (`--font`), which nothing else here needs; without them use
`--only docx hwpx`. The same sources give the same bytes: dates inside the files are fixed.

The sources use a small part of Markdown: headings, paragraphs, list items and tables. The HWPX
files hold what a text extractor needs; their layout was not tried in an office program.
"""

from __future__ import annotations

import argparse
import importlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

import docx

HERE = Path(__file__).parent
SOURCES = HERE / "sample_sources"
DOCUMENTS = HERE.parent / "apps" / "ingestion" / "sample" / "documents"
KOREAN_FONT = Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf")
WRITTEN_AT = datetime(2025, 1, 1, tzinfo=UTC)
# The earliest time a ZIP entry can carry.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
OWPML = "http://www.hancom.co.kr/hwpml/2011"


@dataclass(frozen=True, slots=True)
class Block:
    """A heading of a level, an item, a paragraph (`rows` holds one cell) or a table."""

    kind: Literal["heading", "item", "paragraph", "table"]
    rows: tuple[tuple[str, ...], ...]
    level: int = 0

    @property
    def text(self) -> str:
        """The only cell of a block that is not a table."""
        return self.rows[0][0]


def blocks(markdown: str) -> list[Block]:
    """Split a source into blocks; blocks are separated by blank lines, items by lines."""
    parts = re.split(r"\n\s*\n", markdown.strip())
    return [block for part in parts for block in _part(part.splitlines())]


def _part(lines: Sequence[str]) -> Iterable[Block]:
    if lines[0].startswith("|"):
        rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
        yield Block("table", tuple(row for row in rows if not set("".join(row)) <= set("-")))
        return
    heading = re.fullmatch(r"(#+) (.*)", lines[0])
    if heading:
        yield Block("heading", ((heading[2],),), len(heading[1]))
        return
    if re.match(r"- |\d+\. ", lines[0]):
        yield from (Block("item", ((line.removeprefix("- "),),)) for line in lines)
        return
    yield Block("paragraph", ((" ".join(lines),),))


def docx_bytes(content: Sequence[Block], *, title: str) -> bytes:
    """Render blocks as a Word document."""
    document = docx.Document()
    properties = document.core_properties
    properties.title, properties.author = title, "DT-RAG sample corpus"
    properties.created = properties.modified = WRITTEN_AT
    for block in content:
        if block.kind == "heading":
            document.add_heading(block.text, block.level)
        elif block.kind == "table":
            table = document.add_table(len(block.rows), len(block.rows[0]), style="Table Grid")
            for cells, row in zip((row.cells for row in table.rows), block.rows, strict=True):
                for cell, text in zip(cells, row, strict=True):
                    cell.text = text
        else:
            document.add_paragraph(block.text)
    buffer = io.BytesIO()
    document.save(buffer)
    return _with_fixed_times(buffer.getvalue())


def _with_fixed_times(archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        return _zipped({name: source.read(name) for name in source.namelist()})


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, ZIP_TIME)
            # The first entry names the type and must be readable without inflating it.
            stored = name == "mimetype"
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            target.writestr(info, data)
    return buffer.getvalue()


def pdf_bytes(content: Sequence[Block], *, title: str, font: Path) -> bytes:
    """Render blocks as an A4 PDF with an embedded subset of `font`."""
    fpdf: Any = importlib.import_module("fpdf")
    pdf = fpdf.FPDF(format="A4")
    pdf.set_title(title)
    pdf.set_creation_date(WRITTEN_AT)
    pdf.add_font("body", fname=str(font))
    pdf.add_page()
    sizes = {"heading": 14, "item": 10.5, "paragraph": 10.5, "table": 9.5}
    for block in content:
        pdf.set_font("body", size=sizes[block.kind])
        if block.kind == "table":
            with pdf.table() as table:
                for row in block.rows:
                    table.row(row)
        else:
            pdf.multi_cell(0, 6, block.text, new_x="LMARGIN", new_y="NEXT", align="L")
        pdf.ln(2)
    return bytes(pdf.output())


def hwpx_bytes(content: Sequence[Block], *, title: str) -> bytes:
    """Render blocks as an HWPX package (KS X 6101): one section, default shapes."""
    section = "".join(
        _table(block) if block.kind == "table" else _p(block.text) for block in content
    )
    members = {
        "mimetype": "application/hwp+zip",
        "version.xml": _xml(
            # The attribute is misspelt like this in the standard's own files.
            f'<hv:HCFVersion xmlns:hv="{OWPML}/version" tagetApplication="WORDPROCESSOR" '
            'major="5" minor="1" micro="0" buildNumber="1" os="1" xmlVersion="1.4"/>'
        ),
        "META-INF/container.xml": _xml(
            '<ocf:container xmlns:ocf="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<ocf:rootfiles><ocf:rootfile full-path="Contents/content.hpf" '
            'media-type="application/hwpml-package+xml"/></ocf:rootfiles></ocf:container>'
        ),
        "Contents/content.hpf": _xml(
            '<opf:package xmlns:opf="http://www.idpf.org/2007/opf/"><opf:metadata>'
            f"<opf:title>{escape(title)}</opf:title><opf:language>ko</opf:language></opf:metadata>"
            '<opf:manifest><opf:item id="header" href="Contents/header.xml" '
            'media-type="application/xml"/><opf:item id="section0" href="Contents/section0.xml" '
            'media-type="application/xml"/></opf:manifest><opf:spine>'
            '<opf:itemref idref="header"/><opf:itemref idref="section0"/></opf:spine></opf:package>'
        ),
        "Contents/header.xml": _xml(
            f'<hh:head xmlns:hh="{OWPML}/head" version="1.4" secCnt="1"><hh:refList/></hh:head>'
        ),
        "Contents/section0.xml": _xml(
            f'<hs:sec xmlns:hs="{OWPML}/section" xmlns:hp="{OWPML}/paragraph">{section}</hs:sec>'
        ),
    }
    return _zipped({name: text.encode() for name, text in members.items()})


def _xml(root: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>{root}'


def _p(text: str) -> str:
    return f"<hp:p><hp:run><hp:t>{escape(text)}</hp:t></hp:run></hp:p>"


def _table(block: Block) -> str:
    rows = "".join(f"<hp:tr>{''.join(map(_cell, row))}</hp:tr>" for row in block.rows)
    size = f'rowCnt="{len(block.rows)}" colCnt="{len(block.rows[0])}"'
    return f"<hp:p><hp:run><hp:tbl {size}>{rows}</hp:tbl></hp:run></hp:p>"


def _cell(text: str) -> str:
    return f"<hp:tc><hp:subList>{_p(text)}</hp:subList></hp:tc>"


def rendered(source: Path, *, font: Path) -> bytes:
    """Render `<name>.<format>.md` in the format that its name tells."""
    content = blocks(source.read_text(encoding="utf-8"))
    title = content[0].text
    match Path(source.stem).suffix:
        case ".docx":
            return docx_bytes(content, title=title)
        case ".hwpx":
            return hwpx_bytes(content, title=title)
        case _:
            return pdf_bytes(content, title=title, font=font)


def main() -> None:
    """Write every file, or those of the chosen formats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--font", type=Path, default=KOREAN_FONT, help="TrueType font for PDF")
    parser.add_argument("--only", nargs="+", default=["docx", "pdf", "hwpx"], metavar="FORMAT")
    options = parser.parse_args()
    for source in sorted(SOURCES.glob("*.md")):
        if Path(source.stem).suffix[1:] in options.only:
            data = rendered(source, font=options.font)
            (DOCUMENTS / source.stem).write_bytes(data)
            print(f"{source.stem}  {len(data):,} bytes")


if __name__ == "__main__":
    main()
