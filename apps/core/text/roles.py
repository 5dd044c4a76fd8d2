"""Who holds an office: whether a sentence that names the office names its holder too."""

from __future__ import annotations

import re
from collections.abc import Iterable

from apps.core.text.overlap import EMPTY
from apps.core.text.questions import Question
from apps.core.text.tokens import stem

# "누구" after the office, and "the director of"; a word for anybody is no office.
KOREAN = re.compile(
    r"(?P<role>[가-힣]{2,6}?)(?:님)?(?:의?\s(?:이름|성함|성명))?(?:은|는|이|가)?"
    r"\s(?:누구|뭐|무엇|뭔)\S*\s*$"
)
ENGLISH = re.compile(
    r"\bwho(?:'s| is| was| are| were) (?:the |an? )?(?:\w+ )?(?P<role>[a-z]+) (?:of|for|at)\b"
)
ANYBODY_LIST = "사람 인물 분 이름 것 누구 주인공 person man woman one people"
ANYBODY = frozenset(ANYBODY_LIST.split())
NEAR_WORDS = 5
# "사무총장 아네르스 …", "시장은 김한빛이다".
NAMED_AFTER = re.compile(
    r"[\s(·,:]+(?!및|등|또는)[가-힣A-Za-z]|[은는이가]\s.*(?:이다|였다|이었다|입니다|이며)\b"
)


def role(question: Question) -> str | None:
    """The office whose holder is asked for, as the question writes it."""
    if question.answer_type != "person":
        return None
    text = question.text.rstrip(" ?？.!")
    found = KOREAN.search(text)
    if found:
        return None if found["role"] in ANYBODY else found["role"]
    latin = ENGLISH.search(text.lower())
    return None if latin is None or latin["role"] in ANYBODY else latin["role"]


def unfilled(office: str, sentence: str, *, known: str) -> bool:
    """Whether `sentence` names the office without anybody who could hold it beside.

    Args:
        office: as `role` gives it.
        sentence: a sentence of a passage.
        known: the question; its own names are no answer.
    """
    places = [match.span() for match in _whole(office).finditer(sentence)]
    return bool(places) and not any(_beside(sentence, *place, known=known) for place in places)


def vacant(question: Question, sentences: Iterable[str]) -> bool:
    """Whether an office is asked for that `sentences` name, and never with anybody beside."""
    office = role(question)
    if office is None:
        return False
    whole = _whole(office)
    naming = [sentence for sentence in sentences if whole.search(sentence)]
    return bool(naming) and all(unfilled(office, one, known=question.text) for one in naming)


def _whole(office: str) -> re.Pattern[str]:
    """ "학자" is no part of "과학자"; a particle may follow."""
    return re.compile(rf"(?<!\w){re.escape(office)}", re.IGNORECASE)


def _beside(sentence: str, start: int, end: int, *, known: str) -> bool:
    before, after = sentence[:start].split()[-NEAR_WORDS:], sentence[end:].split()[:NEAR_WORDS]
    if not sentence[start:end].isascii():
        # A name before its office has no particle: "우방궈 … 위원장".
        bare = (word for word in before if len(word) > 1 and word.isalpha() and stem(word) == word)
        return (
            any(word not in known for word in bare) or NAMED_AFTER.match(sentence, end) is not None
        )
    words = (word.strip(".,;:()\"'’") for word in (*before, *after))
    names = (word.lower() for word in words if word[:1].isupper())
    return any(name not in EMPTY and name not in known.lower() for name in names)
