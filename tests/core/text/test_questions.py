"""The kind of answer is read off the question's words."""

from __future__ import annotations

import pytest

from apps.core.text.questions import analyse


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("한빛시는 언제 생겼나요?", "time"),
        ("경부고속도로가 개통된 해는?", "time"),
        ("조례를 발의한 사람은 누구인가?", "person"),
        ("회의가 열린 곳은?", "place"),
        ("도서관은 몇 층까지 있나요?", "number"),
        ("예산은 얼마인가요?", "number"),
        ("수수료를 올린 이유는?", "reason"),
        ("왜 답을 보류하나요?", "reason"),
        ("배포를 어떻게 되돌리나요?", "manner"),
        ("배포를 시작하려면?", "manner"),
        ("개를 등록하려면 얼마가 드나요?", "number"),
        ("설치하려면 무엇이 필요한가요?", "thing"),
        ("딥러닝이란?", "definition"),
        ("과적합이 뭐야?", "definition"),
        ("어떤 것들이 있나요?", "list"),
        ("노인도 할인받을 수 있나요?", "yes_no"),
        ("연속 우승한 팀이 좋아하는 음식은 무엇인가?", "thing"),
        ("When was the bridge opened?", "time"),
        ("In what year did it open?", "time"),
        ("Who designed the bridge?", "person"),
        ("Where is the office?", "place"),
        ("How many stations are there?", "number"),
        ("Why does it abstain?", "reason"),
        ("How do I roll back?", "manner"),
        ("What is a vector index?", "definition"),
        ("flushsync", "definition"),
        ("Which ones are closed?", "list"),
        ("Is parking free?", "yes_no"),
        ("What is kept when someone presses back?", "thing"),
    ],
)
def test_kind(text: str, kind: str) -> None:
    """Korean and English questions of each kind are told apart."""
    assert analyse(text).answer_type == kind


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("직원은 모두 몇 명인가요?", ("person",)),
        ("지지율은 몇 퍼센트였나?", ("%", "%p")),
        ("나이는?", ("age",)),
        ("How many days does it take?", ("day",)),
    ],
)
def test_units(text: str, units: tuple[str, ...]) -> None:
    """The counter of the question is the unit of the answer."""
    assert analyse(text).units == units


def test_content_has_no_question_words_and_no_asking_ending() -> None:
    """What is left are words that a passage may hold."""
    assert analyse("정밀도는 어떻게 계산하나요?").content.split() == ["정밀도는", "계산"]
    assert analyse("How do I roll back?").content.split() == ["roll", "back"]


@pytest.mark.parametrize(
    ("polite", "plain"),
    [
        ("안녕하세요, 혹시 도서관 시간을 알려주실 수 있을까요?", "도서관 시간을"),
        ("죄송하지만 폐기물 수수료 좀 가르쳐 주세요 감사합니다", "폐기물 수수료"),
        ("Sorry, I would like to know, if possible, parking fees, thank you", "parking fees"),
        ("감사위원회의 위원", "감사위원회의 위원"),
    ],
)
def test_politeness_is_not_what_is_asked_for(polite: str, plain: str) -> None:
    """Greetings, excuses and thanks leave nothing behind that a passage should hold."""
    words = analyse(polite).content.replace(",", " ").split()
    assert words == plain.split()


def test_a_noun_that_looks_like_an_ending_stays_whole() -> None:
    """ "예비인가" is a licence, not a question."""
    assert "예비인가를" in analyse("예비인가를 받을 필요가 있는지 설명하시오").content


def test_core_drops_words_about_the_definition() -> None:
    """ "개념" need not stand in the sentence that defines."""
    assert analyse("딥러닝의 주요 개념은?").core.split()[0] == "딥러닝의"
    assert "개념" not in analyse("딥러닝의 주요 개념은?").core


def test_only_question_words_stay_as_they_are() -> None:
    """There is always something to look for."""
    assert analyse("왜?").content.strip() == "왜"
