"""Things are read off a question only where its form leaves no doubt."""

from __future__ import annotations

import pytest

from apps.core.text.questions import analyse
from apps.core.text.things import things


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("수첩 표지 규격", ("수첩", "표지", "규격")),
        ("전기차 보조금은 얼마인가요?", ("전기차", "보조금")),
        ("학교 프린터 있나요?", ("학교", "프린터")),
        ("피아노 폐기 수수료 알려줘", ("피아노", "폐기")),
        ("운전면허 갱신 수수료", ("운전면허", "갱신")),
        ("출생 축하금 예산은 총 얼마야?", ("출생", "축하금", "예산")),
        ("piano disposal fee", ("piano", "disposal")),
        ("How much is the swimming pool?", ("swim", "pool")),
        ("how many teachers work here", ("teacher",)),
        ("Who is the director of the library?", ("director",)),
    ],
)
def test_a_question_without_a_verb_names_things(question: str, found: tuple[str, ...]) -> None:
    """All of its words but those that name the kind of the answer; and an office is a thing."""
    assert things(analyse(question)) == found


@pytest.mark.parametrize(
    "question",
    [
        "쓰레기 언제 버려?",
        "한명숙이 다닌 대학교는?",
        "권한을 가진 사람은 누구인가?",
        "졸업자가 다니는 회사는?",
        "방탄소년단의 회사는?",
        "문서는 어떻게 올려요?",
        "What did the IPCC apologize for?",
        "Is tap water safe to drink?",
    ],
)
def test_a_verb_leaves_doubt(question: str) -> None:
    """An answer may say it in other words."""
    assert things(analyse(question)) == ()


def test_a_verb_before_a_noun_is_no_thing() -> None:
    """What ends as a verb before its noun does is left out."""
    assert "버릴" not in things(analyse("책상 버릴 때 수수료"))
