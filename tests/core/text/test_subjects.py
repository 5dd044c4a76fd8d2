"""Subjects are the words that an answer's surroundings should hold."""

from __future__ import annotations

import pytest

from apps.core.text.questions import analyse
from apps.core.text.subjects import Said, subjects
from apps.core.text.tokens import normal, stems


def said(text: str) -> Said:
    return Said(frozenset(stems(text)), normal(text))


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("대형폐기물 수수료는 얼마인가요?", ("대형폐기물", "수수료")),
        ("키를 어느 헤더에 넣나요?", ("헤더",)),
        ("그로 인한 경제적 효과에 대해 설명해 주세요.", ("경제적", "효과")),
        ("Which company made the trains?", ("company", "made", "train")),
        ("왜?", ()),
    ],
)
def test_subjects(question: str, found: tuple[str, ...]) -> None:
    """Particles, question words, fillers and nouns of one syllable are left out."""
    assert subjects(analyse(question)) == found


@pytest.mark.parametrize(
    ("word", "text", "share"),
    [
        ("수수료", "수수료를 낸다", 1.0),
        ("대형폐기물", "대형 폐기물을 신고한다", 1.0),
        ("대형폐기물", "생활 폐기물을 신고한다", 0.5),
        ("설계한", "건축가가 설계했다", 0.8),
        ("만들었어", "이것을 만든다", 0.0),
        ("수영장", "도서관", 0.0),
        ("train", "Trains run daily", 1.0),
        ("rag", "dragging", 0.0),
        ("machn", "Machines learn", 0.8),
        ("libary", "the library", 0.8),
        ("serach", "search it", 0.8),
        ("date", "the data", 0.0),
        ("1998", "1999", 0.0),
        ("설치하려면", "설치가 끝난 뒤", 0.8),
        ("65조", "제65조", 1.0),
        ("20리터짜리", "10리터 280원, 20리터 540원", 1.0),
        ("20리터짜리", "2리터 540원", 0.0),
    ],
)
def test_holds(word: str, text: str, share: float) -> None:
    """Numbers must stand there, long Latin words but for a slip; Korean ones may be inflected."""
    assert said(text).holds(word) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("word", "text", "named"),
    [
        ("반려묘", "반려견을 등록한다", False),
        ("반려견", "반려견을 등록한다", True),
        ("수수료", "요금을 낸다", True),
        ("대형폐기물", "대형 폐기물", True),
    ],
)
def test_a_noun_is_not_its_beginning(word: str, text: str, named: bool) -> None:
    """Another last syllable is another noun, not an ending."""
    assert said(text).names(word) is named
