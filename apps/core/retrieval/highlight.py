"""Where a passage holds the question's words, and how much of the question it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from apps.core.domain.models import Hit, Passage
from apps.core.text import tokens

# A pair of syllables in more than this share of the passages is grammar ("하는", "에서").
COMMON_IDF = 2.3  # ln(1 + N/n) at n = N / 9
LONGEST_ENDING = 4  # "stop" marks "stopping", and "re" does not mark "react"


def highlights(question: str, text: str, idf: Mapping[str, float]) -> tuple[tuple[int, int], ...]:
    """[start, end) offsets into `text` of the question's stems and of its rare pairs, merged."""
    stems = {stem for stem in tokens.stems(question) if len(stem) > 1}
    pairs = {pair for pair, weight in idf.items() if len(pair) > 1 and weight >= COMMON_IDF}
    lowered = text.lower()
    if len(lowered) != len(text):  # "İ" grows; the offsets would be wrong
        lowered = text
    marked = bytearray(len(text))
    for term in stems | pairs:
        for start, end in _places(lowered, term):
            marked[start:end] = b"\1" * (end - start)
    return tuple(_runs(marked))


def _places(text: str, term: str) -> Iterator[tuple[int, int]]:
    start = text.find(term)
    while start >= 0:
        end = start + len(term)
        if not term.isascii():
            yield start, end
        elif not text[start - 1 : start].isascii() or not text[start - 1 : start].isalnum():
            # A Latin stem stands at the beginning of a word, and the word is marked to its end.
            while end < len(text) and text[end].isascii() and text[end].isalnum():
                end += 1
            if end - start <= len(term) + LONGEST_ENDING:
                yield start, end
        start = text.find(term, start + 1)


def _runs(marked: Sequence[int]) -> Iterable[tuple[int, int]]:
    start = None
    for at, inside in enumerate((*marked, 0)):
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
