"""How retrieved text stands in a prompt: numbered, between fences that nobody could write."""

from __future__ import annotations

import random
from collections.abc import Sequence

from apps.core.domain.models import Hit


def unguessable(hits: Sequence[Hit], rng: random.Random) -> str:
    """A word that nobody who wrote a passage could know."""
    marker = f"{rng.getrandbits(64):016x}"
    while any(marker in hit.passage.text for hit in hits):
        marker = f"{rng.getrandbits(64):016x}"
    return marker


def fenced(hits: Sequence[Hit], marker: str, *, most_chars: int | None = None) -> str:
    """Number the passages and put each between its fences, title included.

    Args:
        hits: number 1 is the first.
        marker: of the fences.
        most_chars: so much of each passage's text at most; None: all of it.
    """
    return "\n\n".join(
        f"<<<{marker} [{number}]\n{hit.passage.title}\n{hit.passage.text[:most_chars]}\n{marker}>>>"
        for number, hit in enumerate(hits, start=1)
    )
