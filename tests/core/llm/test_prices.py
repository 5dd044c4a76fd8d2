"""Costs of calls."""

from __future__ import annotations

import pytest

from apps.core.llm.prices import cost_usd, price


def test_a_call_costs_its_tokens() -> None:
    """A million in and a million out cost the listed prices together."""
    cost = cost_usd("google_genai:gemini-2.5-flash", input_tokens=10**6, output_tokens=10**6)
    assert cost == pytest.approx(2.8)


def test_an_unknown_price_is_none_and_costs_nothing() -> None:
    """The table says that it does not know; a record shows 0."""
    assert price("ollama:anything") is None
    assert cost_usd("ollama:anything", input_tokens=10**6, output_tokens=5) == 0
