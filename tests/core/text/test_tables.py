"""A row belongs to its cells and to the names of their columns."""

from __future__ import annotations

from apps.core.text.overlap import terms
from apps.core.text.tables import row, table_header

RECORD = "사무: 도면 열람; 단위: 1회; 수수료: 300원; 처리 기간: 즉시"
HEADER = "구분 | 최초 30분 | 월 정기권"
ROW = "2급지 | 600원 | 70,000원"


def values(text: str, header: str | None, asked: str) -> list[str]:
    read = row(text, header)
    assert read is not None
    return [text[cell.start : cell.end] for cell in read.meant(terms(asked))]


def test_the_column_that_is_named() -> None:
    """The question's words choose a column, of a record and of a line under its header."""
    assert values(RECORD, None, "도면 열람 수수료") == ["300원"]
    assert values(ROW, HEADER, "2급지 정기권") == ["70,000원"]
    assert values(ROW, HEADER, "2급지") == []


def test_names_and_values_are_kept_apart() -> None:
    """What a column is called is not what a row says."""
    read = row(RECORD, None)
    assert read is not None
    assert "수수료" in read.called
    assert "도면" in read.words
    assert not read.words & read.called


def test_what_is_no_row() -> None:
    """A sentence has no cells, nor has a line with another number of them than its header."""
    assert row("수수료는 300원이다.", None) is None
    assert row("2급지 | 600원", HEADER) is None


def test_the_header_of_a_table() -> None:
    """The first line is the header unless it has digits where the second has them."""
    assert table_header(["표", HEADER, ROW, ROW], 3) == 1
    assert table_header([HEADER, ROW], 0) == 0
    assert table_header(["표", ROW, ROW], 1) is None
    assert table_header(["이름 | 곳", "가 | 나"], 1) == 0
    assert table_header(["문장이다.", ROW], 0) is None
    assert table_header([ROW], 0) is None
