"""A near repetition with one thing changed is a contradiction; a real paraphrase is not."""

from __future__ import annotations

import pytest

from apps.core.text.contradiction import contradicts, negations

SOURCE = "한빛시 의회는 2025년 3월 주차장 조례를 새내동 주민센터에서 의결하였다."


@pytest.mark.parametrize(
    "claim",
    [
        "한빛시 의회는 2025년 3월 주차장 조례를 가온동 주민센터에서 의결하였다.",
        "한빛시 의회는 2025년 4월 주차장 조례를 새내동 주민센터에서 의결하였다.",
        "한빛시 의회는 2025년 3월 주차장 조례를 새내동 주민센터에서 의결하지 않았다.",
    ],
)
def test_one_thing_changed(claim: str) -> None:
    """Another place, another month, the opposite."""
    assert contradicts(claim, SOURCE, SOURCE)


@pytest.mark.parametrize(
    "claim",
    [
        SOURCE,
        "한빛시 의회는 2025년 3월 주차장 조례를 새내동 주민센터에서 의결했습니다.",
        "주차장 조례는 2025년 3월에 의결되었다.",
        "조례가 통과되었다.",
    ],
)
def test_the_same_in_other_words(claim: str) -> None:
    """Formal speech, another order and a summary are fine."""
    assert not contradicts(claim, SOURCE, SOURCE)


def test_a_negation_in_another_clause_is_no_contradiction() -> None:
    """A claim that repeats one clause is compared with that clause."""
    source = "The office opens at nine on weekdays in March, and nobody works there on Sunday."
    assert not contradicts("The office opens at nine on weekdays", source, source)


@pytest.mark.parametrize(
    ("text", "denies"),
    [
        ("가지 않았다", True),
        ("안 갔다", True),
        ("안내문을 보았다", False),
        ("빵뿐만 아니라 떡도 판다", False),
        ("It isn't open", True),
        ("not only bread", False),
        ("nothing was said", True),
        ("notable", False),
    ],
)
def test_negations(text: str, *, denies: bool) -> None:
    """Korean and English words that deny, and some that only look like it."""
    assert bool(negations(text)) is denies
