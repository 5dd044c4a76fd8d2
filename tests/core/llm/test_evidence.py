"""The signs for and against an answer say what they are said to say."""

from __future__ import annotations

import math

import pytest

from apps.core.domain.models import Hit, Passage
from apps.core.llm.evidence import Evidence
from apps.core.llm.extractive import extract

WASTE = "대형 폐기물은 신고하고 내놓는다. 책상은 5,000원이다. 매트리스는 10,000원이다."


def hit(text: str, *, score: float = 1.0, doc_id: str = "d") -> Hit:
    return Hit(Passage(text[:4], doc_id, "", text, 0, len(text), "ko"), score)


def evidence(question: str, *hits: Hit) -> Evidence:
    return extract(question, hits, language="ko").evidence


def test_subjects_of_the_passage() -> None:
    """A compound noun may stand in its parts; what is nowhere counts against the passage."""
    assert evidence("대형폐기물은 얼마인가요?", hit(WASTE)).there == 1.0
    assert evidence("여권은 얼마인가요?", hit(WASTE)).there == 0.0
    assert evidence("대형폐기물 여권은 얼마인가요?", hit(WASTE)).there == 0.5


def test_an_exchanged_word_makes_no_question_korean() -> None:
    """Of an English question only the capitalised words are names, whatever words it took over."""
    found = extract(
        "When does the festival begin?", [hit("축제는 4월 4일에 시작한다.")], language="en"
    )
    assert found.evidence.missing == 0.0


def test_subjects_of_the_quotes() -> None:
    """Only what is going to be quoted counts, on a scale that flattens."""
    assert evidence("매트리스는 얼마인가요?", hit(WASTE)).quoted == pytest.approx(math.log(2))


def test_the_second_document_is_a_rival() -> None:
    """A lead of the first document is a good sign; a chunk of its own is no rival."""
    same = hit("책상을 판다.", score=0.9)
    assert evidence("책상은 얼마?", hit(WASTE), same).rival == 0.0
    found = evidence("책상은 얼마?", hit(WASTE), same, hit("책상을 산다.", score=0.4, doc_id="e"))
    assert found.rival == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("question", "valueless"),
    [("책상은 얼마인가요?", 0.0), ("폐기물은 언제 신고하나요?", 1.0), ("책상을 왜 버리나요?", 0.0)],
)
def test_a_value_that_is_asked_for_must_be_there(question: str, valueless: float) -> None:
    """No date among the quotes answers no "when"; a reason cannot be seen."""
    assert evidence(question, hit(WASTE)).valueless == valueless


def test_masked_numbers_are_not_missed() -> None:
    """A telephone number of the caller need not stand in a passage."""
    assert evidence("01**-****-**** 번호인데 책상은 얼마?", hit(WASTE)).missing == 0.0


def test_a_record_speaks_for_itself() -> None:
    """What another row of a table file says does not make this row an answer."""
    rows = "이름: 책상; 값: 5,000원; 날: 월요일\n\n이름: 여권 사진; 값: 면제; 날: 화요일"
    assert evidence("여권 책상은 얼마인가요?", hit(rows)).there == 0.5
    prose = "책상은 5,000원이다. 여권 사진은 면제한다."
    assert evidence("여권 책상은 얼마인가요?", hit(prose)).there == 1.0
