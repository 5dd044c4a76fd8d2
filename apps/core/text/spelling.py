"""Near spellings: a slip of the finger in a Latin word, a letter confused in a Korean one."""

from __future__ import annotations

from collections.abc import Collection, Iterator

FIRST, VOWELS, FINALS = 0xAC00, 21, 28
LAST = 0xD7A3
# Letters that sound alike or lie side by side on the two-set keyboard, as places in Unicode's
# order; the first final is none.
VOWEL_ORDER = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINAL_ORDER = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
ONSET_ORDER = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWEL_GROUPS = "ㅐㅔ ㅒㅖㅐㅔ ㅚㅙㅞ ㅢㅣ ㅏㅑ ㅓㅕ ㅗㅛ ㅜㅠ ㅓㅏ ㅗㅓ ㅏㅣ ㅜㅡ"
FINAL_GROUPS = "ㅅㅆㄷㅌㅈㅊ ㄱㄲㅋ ㅂㅍㅄ ㄴㄵㄶ ㄹㄼㅀㄺ"
ONSET_GROUPS = "ㄱㄲㅋ ㄷㄸㅌ ㅂㅃㅍ ㅅㅆ ㅈㅉㅊ"
# Shorter Latin words have too many neighbours that mean something else ("date", "data").
SHORTEST_LATIN = 6
SHORTEST_KOREAN = 2


def _confused(order: str, groups: str) -> dict[int, tuple[int, ...]]:
    found: dict[int, dict[int, None]] = {}
    for group in groups.split():
        for letter in group:
            others = (order.index(other) for other in group if other != letter)
            found.setdefault(order.index(letter), {}).update(dict.fromkeys(others))
    return {letter: tuple(others) for letter, others in found.items()}


ONSETS_LIKE = _confused(ONSET_ORDER, ONSET_GROUPS)
VOWELS_LIKE = _confused(VOWEL_ORDER, VOWEL_GROUPS)
FINALS_LIKE = _confused(FINAL_ORDER, FINAL_GROUPS)


def is_korean(word: str) -> bool:
    """Whether a word is Hangul syllables only, and enough of them to be told from others."""
    return len(word) >= SHORTEST_KOREAN and all(FIRST <= ord(char) <= LAST for char in word)


def is_latin(word: str) -> bool:
    """Whether a word is Latin letters only, and enough of them."""
    return len(word) >= SHORTEST_LATIN and word.isascii() and word.isalpha()


def korean_slips(word: str) -> Iterator[str]:
    """Every spelling of a Korean word with one confused letter, about ten a syllable."""
    for at, char in enumerate(word):
        for other in _like(ord(char) - FIRST):
            yield f"{word[:at]}{chr(FIRST + other)}{word[at + 1 :]}"


def _like(code: int) -> Iterator[int]:
    onset, rest = divmod(code, VOWELS * FINALS)
    vowel, final = divmod(rest, FINALS)
    for other in VOWELS_LIKE.get(vowel, ()):
        yield (onset * VOWELS + other) * FINALS + final
    for other in FINALS_LIKE.get(final, ()):
        yield (onset * VOWELS + vowel) * FINALS + other
    for other in ONSETS_LIKE.get(onset, ()):
        yield (other * VOWELS + vowel) * FINALS + final


def latin_slip(word: str, known: Collection[str]) -> str | None:
    """The first of `known` that is `word` but for one slip after its first letter.

    A word that differs at its end only is another form, or another word.
    """
    near = (one for one in known if one[0] == word[0] and abs(len(one) - len(word)) <= 1)
    return next((one for one in near if one[-1] == word[-1] and one_slip(one, word)), None)


def one_slip(one: str, other: str) -> bool:
    """Whether a letter more, less or wrong, or two swapped, make one word of the other."""
    differ = (at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)
    at = next(differ, min(len(one), len(other)))
    swapped = one[:at] + one[at : at + 2][::-1] + one[at + 2 :]
    return (
        swapped == other
        or other[at + 1 :] in (one[at:], one[at + 1 :])
        or (other[at:] == one[at + 1 :])
    )
