"""Durations and rates in words."""

from __future__ import annotations

import pytest

from apps.core.flags.spans import rate_words, span_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 seconds"),
        (1.0, "1 second"),
        (119, "119 seconds"),
        (600, "10 minutes"),
        (36 * 3600, "36 hours"),
        (17 * 86_400, "17 days"),
        (2_000 * 86_400, "2,000 days"),
    ],
)
def test_a_span_is_told_in_the_unit_that_fits(seconds: float, words: str) -> None:
    """From two of a larger one on."""
    assert span_words(seconds) == words


@pytest.mark.parametrize(
    ("per_s", "words"),
    [
        (5.0, "5 requests a second"),
        (0.5, "30 requests a minute"),
        (40 / 3600, "40 requests an hour"),
        (1 / 86_400, "1 requests a day"),
        (1e-9, "8.64e-05 requests a day"),
    ],
)
def test_a_rate_is_told_in_the_unit_that_has_some(per_s: float, words: str) -> None:
    """At least one of them."""
    assert rate_words(per_s) == words
