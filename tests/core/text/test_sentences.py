"""Sentences are cut at the right places and the offsets are exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.text import sentences

CASES = [
    ("오늘은 비가 온다. 내일은 맑아요! 정말?", ["오늘은 비가 온다.", "내일은 맑아요!", "정말?"]),
    ("값은 3.14이다. 다음.", ["값은 3.14이다.", "다음."]),
    ("그는 갔다.그리고 왔다.", ["그는 갔다.", "그리고 왔다."]),
    ("Dr. Kim met J. Lee. They spoke, e.g. of U.S. law.", None),
    ("Version 2.0.1 is out. See www.example.com today.", None),
    ("1. 설치한다\n2. 실행한다", ["1. 설치한다", "2. 실행한다"]),
    ("제목\n본문입니다.", ["제목", "본문입니다."]),
    ('그는 "좋다." 하고 말했다.', ['그는 "좋다."', "하고 말했다."]),
    ("정말요?! 네…", ["정말요?!", "네…"]),
    ("", []),
    (" \n ", []),
]
TWO = {
    "Dr. Kim met J. Lee. They spoke, e.g. of U.S. law.": [
        "Dr. Kim met J. Lee.",
        "They spoke, e.g. of U.S. law.",
    ],
    "Version 2.0.1 is out. See www.example.com today.": [
        "Version 2.0.1 is out.",
        "See www.example.com today.",
    ],
}


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_split(text: str, expected: list[str] | None) -> None:
    """Korean and English endings end a sentence; decimals, names and list numbers do not."""
    assert [text[a:b] for a, b in sentences.split(text)] == (expected or TWO.get(text, []))


def test_a_wrapped_line_is_one_sentence() -> None:
    """A long line without a final mark goes on in the next line."""
    line = "온라인 시장 잠식으로 온라인 시장 잠식에 따른 영향을 가장 크게 받았고 공산품이 차지하는"
    assert len(sentences.split(f"{line}\n비중이 컸다.")) == 1
    assert len(sentences.split(f"{line}\n- 비중이 컸다.")) == 2


@given(st.text(alphabet=st.sampled_from("가다요. \n?!a1)\"'…。Dr-"), max_size=80))
def test_spans_cover_all_but_white_space(text: str) -> None:
    """Spans are in order, trimmed, and only white space lies between them."""
    covered = 0
    for start, end in sentences.split(text):
        assert covered <= start < end <= len(text)
        assert not text[covered:start].strip()
        assert text[start:end] == text[start:end].strip()
        covered = end
    assert not text[covered:].strip()


def test_a_very_long_wrapped_text_is_cut_at_a_line() -> None:
    """No sentence grows without end when a page has no final mark at all."""
    text = "\n".join(["가나다라마바사 " * 8] * 60)
    spans = sentences.split(text)
    assert len(spans) > 1
    assert all(end - start <= sentences.LONGEST_CHARS for start, end in spans)


def test_the_rows_of_a_table_are_never_one_sentence() -> None:
    """A long row is not taken for a line that a layout program wrapped."""
    rows = [
        "403 | the key lacks the scope | ask an administrator for the scope",
        "504 | deadline passed",
    ]
    text = "\n".join(rows)
    assert [text[start:end] for start, end in sentences.split(text)] == rows
