"""Where a passage holds the question's words, and how much of the question it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from apps.core.domain.models import Hit, Passage
from apps.core.text import tokens

# A pair of syllables in more than this share of the passages is grammar ("하는", "에서").
COMMON_IDF = 2.3  # ln(1 + N/n) at n = N / 9


def highlights(question: str, text: str, idf: Mapping[str, float]) -> tuple[tuple[int, int], ...]:
    """[start, end) offsets into `text` of the question's stems and of its rare pairs, merged."""
    stems = {stem for stem in tokens.stems(question) if len(stem) > 1}
    pairs = {pair for pair, weight in idf.items() if len(pair) > 1 and weight >= COMMON_IDF}
    terms = sorted(stems | pairs, key=lambda term: (-len(term), term))
    if not terms:
        return ()
    pattern = re.compile("|".join(map(_pattern, terms)), re.IGNORECASE)
    marked = [False] * len(text)
    at = 0
    while match := pattern.search(text, at):
        marked[match.start() : match.end()] = [True] * (match.end() - match.start())
        at = match.start() + 1  # pairs of syllables overlap
    return tuple(_runs(marked))


def _pattern(term: str) -> str:
    if term.isascii():
        # `\b` finds no border between a Latin letter and a Hangul syllable.
        return rf"(?<![a-z0-9]){re.escape(term)}(?:s|es|ed|ing)?(?![a-z0-9])"
    return re.escape(term)


def _runs(marked: Sequence[bool]) -> Iterable[tuple[int, int]]:
    start = None
    for at, inside in enumerate([*marked, False]):
        if inside and start is None:
            start = at
        elif not inside and start is not None:
            yield start, at
            start = None


def coverage(idf: Mapping[str, float], passages: Sequence[Passage]) -> float:
    """Idf-weighted share of the question's terms that `passages` hold together, 0..1."""
    total = sum(idf.values())
    if not total:
        return 0.0
    text = "\n".join(f"{passage.title}\n{passage.text}" for passage in passages).lower()
    return sum(weight for term, weight in idf.items() if term in text) / total


def mark(hits: Iterable[Hit], question: str, idf: Mapping[str, float]) -> tuple[Hit, ...]:
    """The same hits with their highlights."""
    return tuple(
        Hit(hit.passage, hit.score, hit.scores, highlights(question, hit.passage.text, idf))
        for hit in hits
    )
