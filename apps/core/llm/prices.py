"""What a call costs, in US dollars."""

from __future__ import annotations

# US dollars per million tokens, input and output, prompts up to 200,000 tokens, standard tier.
# Sources: ai.google.dev/gemini-api/docs/pricing and openai.com/api/pricing, as of 2026-03.
PER_MILLION: dict[str, tuple[float, float]] = {
    "gemini-2.5-pro": (1.25, 10.0),
    "gemini-2.5-flash": (0.30, 2.50),
    "gemini-2.5-flash-lite": (0.10, 0.40),
    "gpt-4.1": (2.0, 8.0),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
}


def price(model: str) -> tuple[float, float] | None:
    """US dollars per million input and output tokens of `provider:model`; None when unknown."""
    return PER_MILLION.get(model.partition(":")[2])


def cost_usd(model: str, *, input_tokens: int, output_tokens: int) -> float:
    """Price of one call in US dollars; 0 when the price is unknown, because the record has no None.

    Models on one's own machine (Ollama) cost nothing here.
    """
    per_input, per_output = price(model) or (0.0, 0.0)
    return (input_tokens * per_input + output_tokens * per_output) / 1e6
