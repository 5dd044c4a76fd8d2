"""The configured chat models in fallback order."""

from __future__ import annotations


class ModelChain:
    """Placeholder of the contract; the graph's owner fills it."""
