"""Near spellings are found, words that merely look alike are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.text.spelling import is_korean, is_latin, korean_slips, latin_slip, one_slip

SYLLABLES = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("쇼파", "소파"), ("벗꽃", "벚꽃"), ("빌릴께", "빌릴게")],
)
def test_confused_letters(typed: str, meant: str) -> None:
    """Vowels, finals and tense consonants that sound alike are exchanged."""
    assert meant in korean_slips(typed)
    assert typed in korean_slips(meant)


@given(SYLLABLES)
def test_a_slip_is_in_one_syllable(word: str) -> None:
    """Each near spelling differs in one syllable."""
    for other in list(korean_slips(word))[:20]:
        assert sum(left != right for left, right in zip(word, other, strict=True)) == 1


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("uplaod", "upload"),
        ("licence", "license"),
        ("attentoin", "attention"),
        ("transformer", None),
        ("policy", None),
        ("banana", None),
    ],
)
def test_latin_slips(typed: str, found: str | None) -> None:
    """One slip inside a word is found; another ending or another beginning is another word."""
    known = ["upload", "license", "attention", "transform", "police", "cabana"]
    assert latin_slip(typed, known) == found


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("abcd", "abdc", True),
        ("abcd", "abd", True),
        ("abcd", "abcde", True),
        ("abcd", "axyd", False),
    ],
)
def test_one_slip(one: str, other: str, *, near: bool) -> None:
    """A letter more, less or wrong, or two swapped."""
    assert one_slip(one, other) is near


def test_which_words_can_be_told() -> None:
    """Short words and mixed ones have too many neighbours."""
    assert is_korean("소파")
    assert not is_korean("책")
    assert not is_korean("5리터")
    assert is_latin("upload")
    assert not is_latin("data")
    assert not is_latin("bm25bm25")
