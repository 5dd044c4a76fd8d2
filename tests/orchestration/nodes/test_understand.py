"""What is known of a question before anything is searched."""

from __future__ import annotations

import pytest

from apps.core.domain.models import AnswerRequest, Language
from apps.orchestration.nodes.understand import normal_form, smalltalk
from tests.fakes.answering import Stage


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("안녕", "greeting"),
        ("안녕하세요!", "greeting"),
        ("안녕하세요 ^^", "greeting"),
        ("좋은 아침입니다.", "greeting"),
        ("Hello there!", "greeting"),
        ("good morning", "greeting"),
        ("잘 지내세요?", "greeting"),
        ("안녕하세요, 오늘 기분이 어때요?", "greeting"),
        ("Hi there, how are you doing today?", "greeting"),
        ("감사합니다~", "thanks"),
        ("정말 고마워요!", "thanks"),
        ("Thanks a lot", "thanks"),
        ("Thank you very much.", "thanks"),
        ("너는 누구야?", "identity"),
        ("누구세요?", "identity"),
        ("무엇을 할 수 있어?", "identity"),
        ("뭐 할 줄 알아?", "identity"),
        ("help", "identity"),
        ("Who are you?", "identity"),
        ("what can you do?", "identity"),
    ],
)
def test_small_talk_is_recognised(question: str, kind: str) -> None:
    """In both languages, with the punctuation of chats."""
    assert smalltalk(question) == kind


@pytest.mark.parametrize(
    "question",
    [
        "안녕이라는 낱말의 뜻은?",
        "안녕하세요, 연차는 며칠인가요?",
        "감사 보고서는 언제 나오나요?",
        "감사",
        "Hello World는 어떤 프로그램인가?",
        "Who are you allowed to call?",
        "what are your opening hours",
        "누구",
        "?",
    ],
)
def test_a_question_about_something_is_none(question: str) -> None:
    """Only a whole question that is nothing else counts."""
    expected = "thanks" if question == "감사" else None
    assert smalltalk(question) == expected


def test_the_normal_form_is_plain() -> None:
    """Full-width forms, odd spaces and invisible characters vanish."""
    assert normal_form("ＡＢＣ　１２３\u200b\n 서울") == "ABC 123 서울"
    assert normal_form("\x00a\ufeffb") == "ab"
    assert normal_form("\ud800a") == "a"


@pytest.mark.parametrize(
    ("request_", "language"),
    [
        (AnswerRequest("안녕"), "ko"),
        (AnswerRequest("hello"), "en"),
        (AnswerRequest("hello", language="ko"), "ko"),
    ],
    ids=["korean", "english", "wished"],
)
async def test_small_talk_is_answered_without_a_search(
    request_: AnswerRequest, language: Language
) -> None:
    """Friendly, at once, in the caller's language, and not passed off as evidence."""
    stage = Stage()
    record = await stage.answer(request_)
    assert stage.index.asked == []
    assert record.language == language
    assert (record.abstained, record.reason, record.grounded) == (True, "smalltalk", False)
    assert record.citations == ()
