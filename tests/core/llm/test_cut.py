"""A passage is cut once: its sentences know their heading, their table and their neighbours."""

from __future__ import annotations

from apps.core.llm.cut import cut, is_heading

GUIDE = (
    "# 안내\n대책\n- 데이터 늘리기: 가장 확실하다.\n- 조기 종료: 학습을 멈춘다.\n\n요금\n"
    "구분 | 30분\n1급지 | 1,000원\n2급지 | 600원\n무료로 여는 날은 일요일이다."
)
RECORDS = "사무: 도면 열람; 단위: 1회; 수수료: 300원\n\n사무: 나무 심기; 단위: 1건; 수수료: 면제"


def test_the_nearest_heading_above() -> None:
    """Each item of a list stands under the heading of the list, not under the item before."""
    one = cut(GUIDE, "과적합")
    items = [at for at, text in enumerate(one.texts) if text.startswith("-")]
    assert [[one.texts[at] for at in one.heading(place)] for place in items] == [["대책"], ["대책"]]


def test_a_row_is_read_with_its_header_and_heading() -> None:
    """A header itself has nothing over it."""
    one = cut(GUIDE, "")
    header, row = one.texts.index("구분 | 30분"), one.texts.index("2급지 | 600원")
    assert [one.texts[at] for at in one.over_row(row)] == ["구분 | 30분", "요금"]
    assert one.over_row(header) == []
    assert one.rows[header] is None


def test_records_stand_alone() -> None:
    """A record of a table file has neither neighbours nor a heading."""
    one = cut(RECORDS, "수수료표")
    assert one.alone(0)
    assert one.beside(0) == []
    assert one.heading(1) == []


def test_what_a_passage_speaks_of() -> None:
    """A Korean stem may be a part of a word, a Latin one may not."""
    one = cut("대형폐기물 is refused.", "Waste")
    assert one.speaks("폐기물")
    assert one.speaks("wast")
    assert not one.speaks("use")


def test_a_label_with_its_value_is_no_heading() -> None:
    """It says what the label is."""
    assert is_heading("지원 대상")
    assert is_heading("주의:")
    assert not is_heading("나이: 공고일 기준 만 19세 이상 34세 이하")
