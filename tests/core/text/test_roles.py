"""An office without its holder does not answer who holds it."""

from __future__ import annotations

import pytest

from apps.core.text.questions import analyse
from apps.core.text.roles import role, unfilled, vacant


@pytest.mark.parametrize(
    ("question", "office"),
    [
        ("한빛시 시장은 누구예요?", "시장"),
        ("의회 의장의 이름은 무엇인가요?", "의장"),
        ("한빛시 시장 이름이 뭐예요?", "시장"),
        ("축제 이름이 뭐예요?", None),
        ("다리를 설계한 사람은 누구인가?", None),
        ("Who is the director of the library?", "director"),
        ("Who wrote the book?", None),
        ("시장은 언제 여나요?", None),
    ],
)
def test_the_office(question: str, office: str | None) -> None:
    """Only a noun for an office counts, not a word for anybody."""
    assert role(analyse(question)) == office


@pytest.mark.parametrize(
    ("office", "sentence", "empty"),
    [
        ("시장", "시장은 매년 1월에 보고한다.", True),
        ("시장", "이 조례에서 시장이 보관하는 공부를 말한다.", True),
        ("시장", "시장은 김한빛이다.", False),
        ("시장", "김한빛 시장은 매년 보고한다.", False),
        ("사무총장", "사무총장 아네르스 라스무센은 계획이 없다고 밝혔다.", False),
        ("학자", "과학자는 연구한다.", False),
        ("director", "The director signs every contract.", True),
        ("director", "Anna Berg is the director.", False),
        ("director", "Books are lent.", False),
    ],
)
def test_unfilled(office: str, sentence: str, *, empty: bool) -> None:
    """A name before or after the office fills it; a sentence without the office says nothing."""
    assert unfilled(office, sentence, known="한빛시 시장은 누구? Who is it?") is empty


def test_vacant() -> None:
    """An office is vacant when it is named and never with a holder."""
    asked = analyse("한빛시 시장은 누구예요?")
    assert vacant(asked, ["시장은 매년 보고한다.", "축제를 연다."])
    assert not vacant(asked, ["시장은 매년 보고한다.", "김한빛 시장이 연다."])
    assert not vacant(asked, ["축제를 연다."])
    assert not vacant(analyse("언제 여나요?"), ["시장은 매년 보고한다."])
