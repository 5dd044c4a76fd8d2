"""Index terms are stable, complete and free of particles."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.text import tokens

MIXED = st.text(alphabet=st.sampled_from("가나다라은는이의 aBz19년.-_é學ｱ\n"), max_size=60)


def test_hangul_becomes_pairs_and_other_scripts_words() -> None:
    """A digit, a Latin word and a Hangul run part from each other without a space."""
    assert tokens.bigrams("React18을 3월에 Upgrade했다") == [
        *("react18", "을", "3", "월에", "upgrade", "했다")
    ]


def test_decomposed_hangul_gives_the_same_pairs() -> None:
    """File names from macOS are NFD; they must match NFC text."""
    assert tokens.bigrams("한국어") == tokens.bigrams("한국어") == ["한국", "국어"]


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("한국은행에서는 금리를", ["한국은행", "금리"]),
        ("2023년에 3월까지의", ["2023년", "3월"]),
        ("useEffect의 cleanup이", ["useeffect", "cleanup"]),
        ("API키를", ["api", "키를"]),
        ("studies boxes running stopped", ["study", "box", "run", "stop"]),
        ("나는 집에", ["나는", "집에"]),
    ],
)
def test_stems(text: str, stems: list[str]) -> None:
    """Particles and English endings vanish; a stem keeps at least two syllables."""
    assert tokens.stems(text) == stems


@given(st.sampled_from(tokens.PARTICLES), st.text("강산물불흙", min_size=2, max_size=6))
def test_a_particle_changes_no_stem(particle: str, noun: str) -> None:
    """The word with a particle and the word alone are one term."""
    assert tokens.stems(noun + particle) == tokens.stems(noun)


@given(MIXED)
def test_stemming_twice_is_stemming_once(text: str) -> None:
    """A stem is a fixed point."""
    for word in tokens.stems(text):
        assert tokens.stem(word) == word


RUN = re.compile(rf"([{tokens.CJK}]+)|([^\W_{tokens.CJK}]+)")


@given(MIXED | st.text("가나다a1b_ .-漢ひᄀ²é", max_size=12))
def test_pairs_are_those_of_runs(text: str) -> None:
    """Neighbours of each run of syllables, a lone one itself, and words of other scripts whole."""
    expected: list[str] = []
    for match in RUN.finditer(tokens.normal(text)):
        run = match[1]
        lone = run is None or len(run) == 1
        expected += [match[0]] if lone else map("".join, pairwise(run))
    assert tokens.bigrams(text) == expected


@given(MIXED | st.text("가나은는에서이a1b_ .-漢", max_size=12))
def test_terms_are_those_of_the_words(text: str) -> None:
    """No term reaches over white space, so a question may be read word by word."""
    words = tokens.normal(text).split()
    for cut in (tokens.normal_bigrams, tokens.normal_stems):
        assert [term for word in words for term in cut(word)] == cut(tokens.normal(text))


def test_a_particle_behind_a_latin_word_vanishes() -> None:
    """It is no word of its own; a longer Korean word there is one."""
    assert tokens.stems("GPU는 A4로 API의 x강산은") == ["gpu", "a4", "api", "x", "강산"]
    assert tokens.stems("은 값") == ["은", "값"]


@given(MIXED)
def test_every_letter_and_digit_is_in_a_bigram(text: str) -> None:
    """No character of a word is lost, and no term holds white space."""
    terms = tokens.bigrams(text)
    kept = {char for term in terms for char in term}
    normal = unicodedata.normalize("NFKC", text).lower()
    assert {char for char in normal if char.isalnum()} <= kept
    assert all(term and not any(char.isspace() for char in term) for term in terms)
