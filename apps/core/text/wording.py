"""A question in the words of its passages: misspelt words, and other words for the same thing.

Only a word that no passage has is exchanged, and only for one that a passage has, so a question
in the passages' own words stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise
from operator import itemgetter

from apps.core.text.spelling import is_korean, is_latin, korean_slips, latin_slip
from apps.core.text.thesaurus import alike
from apps.core.text.tokens import stem

LATIN = re.compile(r"[A-Za-z]+")
SHORTEST = 2
# Parts of an English compound; shorter ones are beginnings and endings of words.
SHORTEST_PART = 4


def reworded(
    text: str,
    words: Iterable[str],
    *,
    known: Collection[str],
    place: Callable[[str], int | None],
) -> str:
    """Exchange each of `words` that no passage has for one that the best passage has.

    Args:
        text: the question.
        words: its stems.
        known: stems of the passages.
        place: how far down the passages a stem or a Korean string first stands; None nowhere.
    """
    text = _joined(text, known)
    for word in words:
        if len(word) < SHORTEST or place(word) is not None:
            continue
        found = [
            (at, old, new) for old, new in _others(word, known) if (at := place(new)) is not None
        ]
        if found:
            _, old, new = min(found, key=itemgetter(0))
            text = _exchanged(text, old, new)
    return text


def _joined(text: str, known: Collection[str]) -> str:
    """Write as one word what the passages write as one: "street light", "streetlight"."""
    for left, right in pairwise(LATIN.findall(text)):
        if min(len(left), len(right)) < SHORTEST_PART:
            continue
        both, last = f"{left}{right}", stem(right.lower())
        one = f"{left.lower()}{last}"
        if stem(both.lower()) == one in known and not (
            last in known and stem(left.lower()) in known
        ):
            text = re.sub(rf"\b{left}[\s-]+{right}\b", both, text, count=1)
    return text


def _parted(word: str, known: Collection[str]) -> Iterator[tuple[str, str]]:
    for cut in range(SHORTEST_PART, len(word) - SHORTEST_PART + 1):
        if word[:cut] in known and word[cut:] in known:
            yield word, f"{word[:cut]} {word[cut:]}"


def _exchanged(text: str, old: str, new: str) -> str:
    if not old.isascii():
        return text.replace(old, new, 1)
    return LATIN.sub(lambda word: new if stem(word[0].lower()) == old else word[0], text)


def _others(word: str, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """What may stand for which part of a word; one that the thesaurus knows is not misspelt."""
    like = tuple(alike(word))
    yield from like
    if is_korean(word) and not like:
        yield from ((word, other) for other in korean_slips(word))
    if is_latin(word):
        yield from _parted(word, known)
    slip = latin_slip(word, known) if is_latin(word) and not like else None
    if slip is not None:
        yield word, slip
