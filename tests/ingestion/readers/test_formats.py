"""Every format gives its text, its title and its fields, in both languages."""

from __future__ import annotations

import pytest

from apps.core.errors import Unprocessable
from apps.ingestion.items import Parsed
from apps.ingestion.readers.reader import read_clean
from apps.ingestion.readers.registry import READERS, reader_of
from tests.ingestion import files

KOREAN = "서울의 인구는 약 940만 명이다."
ENGLISH = "The capital has about 9.4 million people."


def read(name: str, content: bytes | str) -> Parsed:
    raw = content.encode() if isinstance(content, str) else content
    (document,) = read_clean(reader_of(name), raw)
    return document


BINARY = {
    "pdf": files.pdf([KOREAN, ENGLISH], title="인구"),
    "docx": files.docx(["제목", KOREAN, ENGLISH], title="인구", header="사내 문서"),
    "hwpx": files.hwpx([KOREAN, ENGLISH]),
    "hwp": files.hwp([KOREAN, ENGLISH]),
}
TEXT = {
    "html": f"<html><body><p>{KOREAN}</p><p>{ENGLISH}</p></body></html>".encode(),
    "md": f"# 제목\n\n{KOREAN}\n\n{ENGLISH}".encode(),
    "txt": f"{KOREAN}\n\n{ENGLISH}".encode(),
    "csv": f"ko,en\n{KOREAN},{ENGLISH}".encode(),
    "jsonl": f'{{"text":"{KOREAN} {ENGLISH}"}}'.encode(),
}


@pytest.mark.parametrize("name", [reader.format for reader in READERS])
def test_every_format_gives_both_sentences(name: str) -> None:
    """The Korean and the English sentence are found whole."""
    text = read(name, (BINARY | TEXT)[name]).text
    assert KOREAN in text
    assert ENGLISH in text


def test_pdf_pages_are_paragraphs_and_fields_are_read() -> None:
    """A blank line stands between pages; title and date come from the file."""
    document = read("pdf", BINARY["pdf"])
    assert document.text == f"{KOREAN}\n\n{ENGLISH}"
    assert (document.meta.title, document.meta.date) == ("인구", "2025-01-31")


def test_pdf_words_cut_at_a_line_end_are_joined() -> None:
    """A soft hyphen at the end of a line disappears with the line's end."""
    assert read("pdf", files.pdf(["infor\u00ad\nmation"])).text == "information"


def test_pdf_titles_of_programs_are_no_titles() -> None:
    """`Microsoft Word - x.doc` says nothing about the document."""
    assert read("pdf", files.pdf([ENGLISH], title="Microsoft Word - x.doc")).meta.title is None


def test_docx_keeps_order_tables_and_page_header() -> None:
    """Header first, then paragraphs, then the table's rows as `cell | cell`."""
    document = read("docx", BINARY["docx"])
    assert document.text.split("\n\n") == [
        "사내 문서",
        "제목",
        KOREAN,
        ENGLISH,
        "항목 | 값\n온도 | 36.5도",
    ]
    assert document.meta.title == "인구"


@pytest.mark.parametrize("name", ["hwpx", "hwp"])
def test_hwp_paragraphs_are_paragraphs(name: str) -> None:
    """A blank line stands between paragraphs."""
    assert f"{KOREAN}\n\n{ENGLISH}" in read(name, BINARY[name]).text


def test_hwpx_tables_are_rows() -> None:
    """A table's row is a line `cell | cell`, as in the other formats."""
    assert "항목 | 값" in read("hwpx", BINARY["hwpx"]).text


def test_html_drops_what_nobody_reads_and_keeps_paragraphs() -> None:
    """Scripts, styles and navigation go; blocks become paragraphs; inline tags do not cut words."""
    document = read(
        "html",
        "<!doctype html><html lang='ko-KR'><head><title> 안내\n문 </title><style>p{}</style>"
        "<meta property='article:published_time' content='2024-03-05T10:00'></head><body>"
        "<nav>메뉴</nav><script>alert(1)</script><h1>머리</h1><p>굵<b>은</b>\n글</p>"
        "<ul><li>하나<li>둘</ul><table><tr><th>이름<th>값<tr><td>가<td>1</table>"
        "<pre>a\nb</pre></body></html>",
    )
    assert document.text == "머리\n\n굵은 글\n\n하나\n둘\n\n이름 | 값\n가 | 1\n\na\nb"
    meta = document.meta
    assert (meta.title, meta.language, meta.date) == ("안내 문", "ko", "2024-03-05")


def test_html_in_cp949_says_so() -> None:
    """The declared charset is believed where the bytes are not Unicode."""
    page = f"<html><head><meta charset='euc-kr'></head><body>{KOREAN}</body></html>"
    assert read("html", page.encode("cp949")).text == KOREAN


def test_markdown_marks_go_and_text_stays() -> None:
    """Headings, tables and code stay as text, link targets and emphasis do not."""
    document = read(
        "md",
        "# 큰 **제목**\n\n글 *강조* [링크](https://a.b/c) `code` snake_case 2 * 3 * 4\n\n"
        "| 가 | 나 |\n|---|:-:|\n| 1 | 2 |\n\n```py\n# 주석 **x**\n```\n\n> 인용\n\n---\n끝 <br>",
    )
    assert document.meta.title == "큰 제목"
    assert document.text == (
        "큰 제목\n\n글 강조 링크 code snake_case 2 * 3 * 4\n\n가 | 나\n1 | 2\n\n# 주석 **x**\n\n"
        "인용\n\n끝"
    )


def test_front_matter_tells_the_fields() -> None:
    """Title, tags, date, language, license, category and address are read from the front matter."""
    meta = read(
        "md",
        "---\ntitle: '안내: 첫걸음'\ntags: [가, \"나\"]\ncategory:\n  - ai\n  - rag\n"
        "date: 2025-01-02 # 날짜\nlanguage: ko\nlicense: CC0-1.0\nurl: https://a.b/c\n---\n본문",
    ).meta
    assert (meta.title, meta.tags, meta.category) == ("안내: 첫걸음", ("가", "나"), ("ai", "rag"))
    assert (meta.date, meta.language, meta.license) == ("2025-01-02", "ko", "CC0-1.0")
    assert meta.source_url == "https://a.b/c"


@pytest.mark.parametrize(
    "name", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be"]
)
def test_text_in_usual_korean_encodings(name: str) -> None:
    """UTF-8, CP949 and UTF-16 are told apart without being named."""
    text = f"{KOREAN} 다음 줄도 있다.\n{ENGLISH}"
    assert read("txt", text.encode(name)).text == text


def test_western_text_is_not_taken_for_korean() -> None:
    """A French sentence in Latin-1 keeps its accents."""
    text = "Le café est fermé à midi, même l'été. " * 4
    assert read("txt", text.encode("cp1252")).text == text.strip()


def test_csv_rows_name_their_columns() -> None:
    """Each row repeats the column names; empty cells are left out."""
    text = read("csv", '이름,나이,"메모"\n김,30,\n박,,"긴, 글"\n').text
    assert text == "이름: 김; 나이: 30\n\n이름: 박; 메모: 긴, 글"


@pytest.mark.parametrize(("delimiter"), [",", ";", "\t", "|"])
def test_csv_finds_the_delimiter(delimiter: str) -> None:
    """Comma, semicolon, tab and bar separate cells."""
    rows = [("name", "note"), ("kim", "one two"), ("lee", "three")]
    source = "\n".join(delimiter.join(row) for row in rows)
    assert read("csv", source).text == "name: kim; note: one two\n\nname: lee; note: three"


def test_csv_without_names_keeps_the_first_row() -> None:
    """A first row with numbers is data."""
    assert read("csv", "1,가\n2,나\n").text == "1; 가\n\n2; 나"


def test_jsonl_gives_a_document_a_line_with_its_fields() -> None:
    """Each line is a document; questions of evaluation sets are passed over."""
    lines = (
        '{"id":"a","title":"T","text":"하나","tags":["x"],"language":"ko","date":"2025-1-2"}\n'
        '{"type":"question","question":"?"}\n\n{"text":"둘","url":"https://a.b","category":"ai/rag"}'
    )
    first, second = read_clean(reader_of("jsonl"), lines.encode())
    assert (first.meta.id, first.meta.tags, first.meta.date) == ("a", ("x",), "2025-01-02")
    assert (second.meta.source_url, second.meta.category) == ("https://a.b", ("ai", "rag"))


def test_jsonl_without_texts_is_a_table() -> None:
    """Records become paragraphs of one document: question over answer, or `column: value`."""
    rows = (("언제 여나요?", "9시에 엽니다."), ("어디?", "서울."))
    faq = "\n".join(f'{{"question":"{question}","answer":"{answer}"}}' for question, answer in rows)
    assert read("jsonl", faq).text == "언제 여나요?\n9시에 엽니다.\n\n어디?\n서울."
    assert read("jsonl", '{"이름":"김","나이":3,"표":["a"]}').text == "이름: 김; 나이: 3; 표: a"


@pytest.mark.parametrize("line", ["[1]", "{", '{"id":1}', '{"text":5}'])
def test_jsonl_names_the_line_that_it_cannot_use(line: str) -> None:
    """Nothing is dropped silently."""
    with pytest.raises(Unprocessable, match="Line 2"):
        read_clean(reader_of("jsonl"), f'{{"text":"x"}}\n{line}'.encode())


@pytest.mark.parametrize("name", ["txt", "md", "html", "csv", "jsonl", "pdf", "hwpx"])
def test_no_text_is_a_failure(name: str) -> None:
    """A file without text is refused, not stored empty."""
    empty = {"html": b"<html><body><script>1</script></body></html>", "pdf": files.pdf([" "])}
    empty["hwpx"] = files.archive({"Contents/section0.xml": "<a/>"})
    with pytest.raises(Unprocessable, match="No text found"):
        read_clean(reader_of(name), empty.get(name, b" \n"))


def test_dirt_is_removed() -> None:
    """NUL, other controls and byte order marks go; decomposed Hangul is composed."""
    assert read("txt", "가\x00나\ufeff\x07 \u1100\u1161\r\n\r\n\r\n\r\n끝").text == "가나 가\n\n끝"
    assert read("jsonl", '{"text":"a\\ud800b\\u0000c"}').text == "abc"
