"""A question takes over its passages' words where it has none of them."""

from __future__ import annotations

import pytest

from apps.core.text.questions import analyse
from apps.core.text.subjects import subjects
from apps.core.text.tokens import normal, stems
from apps.core.text.wording import reworded

PARKING = "경형 자동차의 주차 요금은 절반을 감면한다. 소파는 8,000원이다. 벚꽃축제를 연다."
LIBRARY = "쉬는 날은 둘째 월요일이다. 과태료는 없다. 도서관 휴일과 할부를 적는다."
COMPOUNDS = "A broken street light is repaired. The notebook is on the whiteboard."
ENGLISH = "The lift is closed. You can upload a file. The fine is due. Careful drivers pay less."


def exchange(question: str, *texts: str) -> str:
    known = frozenset(word for text in texts for word in stems(text))

    def place(word: str) -> int | None:
        spoken = (
            word in stems(text) or ((" " in word or not word.isascii()) and word in normal(text))
            for text in texts
        )
        return next((at for at, held in enumerate(spoken) if held), None)

    return reworded(question, subjects(analyse(question)), known=known, place=place)


@pytest.mark.parametrize(
    ("question", "passages", "found"),
    [
        ("경차도 할인되나요?", (PARKING,), "경형도 감면되나요?"),
        ("쇼파 버리는 값은?", (PARKING,), "소파 버리는 값은?"),
        ("벗꽃축제는 언제?", (PARKING,), "벚꽃축제는 언제?"),
        ("벌금이 있나요?", (LIBRARY,), "과태료이 있나요?"),
        ("휴관일은 언제?", (LIBRARY,), "쉬는 날은 언제?"),
        ("휴관일은 언제?", (PARKING, LIBRARY), "쉬는 날은 언제?"),
        ("Is there an elevator?", (ENGLISH,), "Is there an lift?"),
        ("Can I uplaod it?", (ENGLISH,), "Can I upload it?"),
        ("Is a streetlight broken?", (COMPOUNDS,), "Is a street light broken?"),
        ("Is the white board clean?", (COMPOUNDS,), "Is the whiteboard clean?"),
        ("Is a car allowed?", (ENGLISH,), "Is a car allowed?"),
    ],
)
def test_a_missing_word_is_exchanged(question: str, passages: tuple[str, ...], found: str) -> None:
    """Other words and slips become what a passage says; what no passage says stays."""
    assert exchange(question, *passages) == found


def test_words_that_a_passage_has_stay() -> None:
    """Nothing is exchanged when any passage speaks as the question does."""
    assert exchange("할인이 되나요?", PARKING, "할인은 없다.") == "할인이 되나요?"


def test_a_known_word_is_not_misspelt() -> None:
    """ "낳으면" is about births, whatever "넣으면" is about."""
    assert exchange("둘째 낳으면?", "반납함에 넣으면 된다.", "출산을 돕는다.") == "둘째 출산면?"


def test_the_best_passage_decides() -> None:
    """Of several other words the one that stands furthest up is taken."""
    assert exchange("휴관일은?", "휴일은 월요일이다.", LIBRARY) == "휴일은?"


def test_a_longer_noun_is_not_a_verb() -> None:
    """ "아이디" is no child, though it begins like one."""
    assert exchange("아이디를 잊었나요?", "자녀는 셋이다.") == "아이디를 잊었나요?"
