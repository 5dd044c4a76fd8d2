"""Made passages and questions of any number from the sentences of our own sample corpus."""

from __future__ import annotations

import random
import re
from importlib.resources import files

SENTENCES_A_PASSAGE = 6
TEXT_ENDINGS = (".md", ".txt")


def sentences() -> list[str]:
    """Every sentence of the sample documents that are plain text."""
    root = files("apps.ingestion") / "sample" / "documents"
    texts = [
        entry.read_text(encoding="utf-8")
        for entry in sorted(root.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(TEXT_ENDINGS)
    ]
    found = re.split(r"(?<=[.?!])\s+|\n+", "\n".join(texts))
    return [line.strip() for line in found if len(line.strip()) > 20]


def passages(count: int, *, seed: int) -> list[tuple[str, str]]:
    """Return `count` (id, text) pairs; each text joins drawn sentences and a number of its own."""
    rng = random.Random(seed)
    pool = sentences()
    return [
        (f"p{number:06d}", " ".join([*rng.sample(pool, SENTENCES_A_PASSAGE), f"No. {number}."]))
        for number in range(count)
    ]


def questions(count: int, *, seed: int) -> list[str]:
    """Return `count` different questions of three to eight words taken from the sentences."""
    rng = random.Random(seed)
    pool = sentences()
    found: set[str] = set()
    while len(found) < count:
        words = rng.choice(pool).split()
        size = min(len(words), rng.randint(3, 8))
        start = rng.randint(0, len(words) - size)
        found.add(f"{' '.join(words[start : start + size])} {rng.randint(0, 9999)}")
    return sorted(found)
