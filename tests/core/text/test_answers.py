"""Spans that could answer a question of a kind, and never the question's own words."""

from __future__ import annotations

import pytest

from apps.core.text.answers import bounded, fitting, is_typed
from apps.core.text.questions import analyse


def found(question: str, sentence: str) -> list[str]:
    return [sentence[start:end] for start, end in fitting(analyse(question), sentence)]


@pytest.mark.parametrize(
    ("question", "sentence", "spans"),
    [
        ("언제 개통했나?", "다리는 1989년 3월 12일 개통했다.", ["1989년 3월 12일"]),
        ("When did it open?", "It opened on March 1, 2019 in Busan.", ["March 1, 2019"]),
        ("직원은 몇 명인가?", "직원 12명이 3개 부서에서 일한다.", ["12명"]),
        ("수수료는 얼마인가?", "수수료는 3,000원이다.", ["3,000원"]),
        ("Who designed it?", "It was designed by Anna Berg in 1990.", ["Anna Berg"]),
        ("1989년 3월에는 언제 열었나?", "1989년 3월에 열었다.", []),
        ("How tall is the hall?", "It has three buildings.", []),
        ("How many parks are there?", "The car park has 212 spaces.", []),
        ("How many bicycles are there?", "There are 46 stations and 520 bicycles.", ["520"]),
        ("How many books does it own?", "책 18만 4천 권을 갖추고 있다.", ["18만 4천 권"]),
        ("How many rooms?", "Rooms: 8.", ["8"]),
        ("누가 공연하나요?", "축제 기간에는 주차장을 쓸 수 없다.", []),
        ("누가 맡나요?", "교통행정과가 맡는다.", ["교통행정과"]),
        ("How tall is the hall?", "It rises three metres, or 3 m.", ["3 m", "three metres"]),
    ],
)
def test_fitting_spans(question: str, sentence: str, spans: list[str]) -> None:
    """Dates are one span, units must agree, known words are no answer."""
    assert found(question, sentence) == spans


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("담당자는 누구인가?", "담당자는 김한빛 과장이다."),
        ("사무실은 어디인가?", "사무실은 새내동에 있다."),
        ("왜 보류했나?", "근거가 없기 때문에 보류했다."),
        ("어떻게 되돌리나?", "명령을 실행해 되돌린다."),
        ("종류를 나열해 줘", "지도 학습, 비지도 학습, 강화 학습으로 나뉜다."),
    ],
)
def test_kinds_without_exact_spans(question: str, sentence: str) -> None:
    """Names, places, reasons, ways and lists are noticed."""
    assert found(question, sentence)


def test_things_have_no_form() -> None:
    """A thing, a definition or yes and no cannot be told by form."""
    assert not is_typed("thing")
    assert found("무엇을 파는 가게인가요 거기는", "빵을 판다.") == []


@pytest.mark.parametrize(
    ("sentence", "value", "whole"),
    [
        ("이용일 3일 전까지 신청한다.", "3일", "3일 전까지"),
        ("매월 최대 200,000원씩 준다.", "200,000원", "최대 200,000원씩"),
        ("만 70세 이상 시민에게 준다.", "70세", "만 70세 이상"),
        ("허가는 7일이 걸린다.", "7일", "7일"),
        ("You may keep up to 20 minutes.", "20 minutes", "up to 20 minutes"),
        ("Dogs must be registered within 30 days.", "30 days", "within 30 days"),
        ("It opened in 1989.", "1989", "1989"),
    ],
)
def test_a_bound_belongs_to_its_value(sentence: str, value: str, whole: str) -> None:
    """ "3일 전까지" is not "3일"."""
    start = sentence.index(value)
    assert bounded(sentence, (start, start + len(value))) == whole
