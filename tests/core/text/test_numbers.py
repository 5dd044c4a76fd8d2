"""Quantities that mean the same are equal, whatever their spelling; others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.text.numbers import holds, quantities, values


def read(text: str) -> list[tuple[str, str]]:
    return [(one.value, one.unit) for one in quantities(text)]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("9억 4000여만 원", "940,000,000원"),
        ("9억4000만원", "₩940 million"),
        ("3조 2천5백억 원", "3.25조 원"),
        ("5 %", "5퍼센트"),
        ("５％", "5 percent"),
        ("2019년 3월 1일", "2019-03-01"),
        ("2019.3.1", "March 1, 2019"),
        ("1 March 2019", "2019. 3. 1."),
        ("12명", "12 people"),
        ("10만 명", "100,000명"),
        ("'24년", "2024년"),
        ("2 hours", "2시간"),
        ("960만 파운드", "9.6 million pounds"),
    ],
)
def test_spellings_of_one_quantity(left: str, right: str) -> None:
    """Thousands, Korean powers of ten, percent, dates, units and full width."""
    assert set(read(left)) <= set(read(right)) or set(read(right)) <= set(read(left))
    assert read(left)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("제65조 제1항", [("65", "article"), ("1", "paragraph")]),
        ("3 일본", [("3", "")]),
        ("v2.3.4", [("2.3.4", "")]),
        ("2분기", [("2", "quarter")]),
        ("1960년대", [("1960", "decade")]),
        ("You may go", []),
        ("숫자 없음", []),
    ],
)
def test_what_looks_alike(text: str, found: list[tuple[str, str]]) -> None:
    """Articles are no trillions, "3 일본" is not three days, a version is one number."""
    assert read(text) == found


def test_a_number_without_unit_is_content_with_any() -> None:
    """ "5" is supported by "5명", but "5명" is not supported by "5개"."""
    five = quantities("5")[0]
    people = quantities("5명")[0]
    assert holds(five, values("5명이 왔다"))
    assert not holds(people, values("5개가 왔다"))
    assert not holds(five, values("15명이 왔다"))


def test_a_year_may_lose_its_unit_in_the_other_language() -> None:
    """ "1989년" is supported by "in 1989"."""
    assert holds(quantities("1989년")[0], values("founded in 1989"))


@given(st.text(alphabet="0123456789,. 년월일만억조천원%명개-'가나xMay$", max_size=40))
def test_spans_lie_in_the_text(text: str) -> None:
    """Every quantity has a place with a digit or a month, and the same text reads the same."""
    for one in quantities(text):
        assert 0 <= one.start < one.end <= len(text)
    assert all(holds(one, values(text)) for one in quantities(text))


@given(st.integers(min_value=1, max_value=9_999), st.sampled_from(["억", "만", "조"]))
def test_powers_of_ten(number: int, power: str) -> None:
    """A number before 만, 억 or 조 is multiplied exactly."""
    factor = {"만": 10**4, "억": 10**8, "조": 10**12}[power]
    assert read(f"{number}{power} 원") == [(str(number * factor), "won")]
