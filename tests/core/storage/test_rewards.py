"""How an opinion becomes a number."""

from __future__ import annotations

import math

import pytest

from apps.core.errors import MissingParameter, Unprocessable
from apps.core.storage.answers import reward_of


@pytest.mark.parametrize(("rating", "reward"), [(1, -1), (2, -0.5), (3, 0), (4, 0.5), (5, 1)])
def test_a_rating_is_centred(rating: int, reward: float) -> None:
    """Three stars are neither good nor bad."""
    assert reward_of(rating=rating) == reward


def test_thumbs_are_the_extremes() -> None:
    """Up is one, down is minus one."""
    assert (reward_of(thumbs_up=True), reward_of(thumbs_up=False)) == (1.0, -1.0)


def test_the_most_exact_word_counts() -> None:
    """A reward beats a rating, a rating beats a thumb."""
    assert reward_of(rating=5, thumbs_up=False, reward=0.25) == 0.25
    assert reward_of(rating=2, thumbs_up=True) == -0.5


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, 1.0001, -1.0001])
def test_what_is_no_reward_is_refused(reward: float) -> None:
    """One NaN would poison every mean after it."""
    with pytest.raises(Unprocessable):
        reward_of(reward=reward)


@pytest.mark.parametrize("rating", [0, 6, -1])
def test_a_rating_outside_its_scale_is_refused(rating: int) -> None:
    """The scale is one to five."""
    with pytest.raises(Unprocessable):
        reward_of(rating=rating)


def test_saying_nothing_is_refused() -> None:
    """An opinion says at least one thing."""
    with pytest.raises(MissingParameter):
        reward_of()
