"""Cuts a document into overlapping chunks of whole sentences, with exact offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from apps.core.text import sentences

# A border is worth a shorter chunk once the chunk is this full.
FULL_SHARE = 0.6
# A sentence over the limit is cut at spaces into pieces of this share of the limit.
PIECE_SHARE = 0.25
HEADING = re.compile(r"#{1,6}\s|제\s?\d+\s?[편장절조](?!\S*[은는이가을를에의])")
# A short line that stands alone and ends without a final mark names what follows.
HEADING_CHARS = 80
FINAL = re.compile(r"[.!?。！？…:;,|]\s*\Z")
PARAGRAPH = re.compile(r"\n[ \t\r]*\n")

# Tokens of XLM-R's vocabulary per run of characters, fitted on 900 windows of public Korean and
# English text and rounded up so that none of them exceeds 512 real tokens at a limit of 500.
# A run of one repeated sign is cheap; letters mixed with figures or in capitals are expensive.
MARGIN = 1.07
RUN = re.compile(
    r"(?P<korean>[가-힣]+)|(?P<word>[A-Za-zÀ-ɏ0-9]+)|(?P<sign>[^\w\s])(?P<repeat>(?P=sign)*)|\w|_+"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk's place in its document, as [start, end), and its estimated size."""

    start: int
    end: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Unit:
    start: int
    end: int
    cost: float
    border: int  # what begins here: 2 a heading, 1 a paragraph, 0 a sentence


def estimate_tokens(text: str) -> float:
    """Estimate how many XLM-R tokens `text` has, without special tokens; 1 MB takes 0.5 s."""
    return MARGIN * sum(_run_cost(match) for match in RUN.finditer(text))


def _run_cost(match: re.Match[str]) -> float:
    length = match.end() - match.start()
    kind = match.lastgroup
    if kind == "korean":
        return 0.3 + 0.68 * length
    if kind == "word":
        return _word_cost(match.group(), length)
    if kind == "repeat":
        return 1 + 0.3 * (length - 1)
    return 1.0


def _word_cost(word: str, length: int) -> float:
    if word.isdigit():
        return 0.3 + 0.5 * length
    if not word.isalpha():
        return 1 + 0.9 * (length - 1)
    if word.isupper():
        return 1 + 0.5 * (length - 1)
    plain = 1.1 + 0.3 * max(0, length - 6) + 0.7 * max(0, length - 18)
    # Names are rarer than words, and an accented letter splits the word it stands in.
    return plain + (0 if word.isascii() else len(word.encode()) - length) + 0.4 * word[0].isupper()


def chunk(text: str, *, max_tokens: int = 500, overlap_tokens: int = 128) -> list[Piece]:
    """Cut `text` into pieces of at most `max_tokens` estimated tokens.

    A piece is whole sentences. It ends before a heading or paragraph when it is at least 60 %
    full there. The next piece repeats whole sentences of up to `overlap_tokens`, except behind
    a heading's border. A single sentence over the limit is cut at spaces, a single word over it
    anywhere.
    """
    units = list(_units(text, max_tokens))
    before = [0.0, *accumulate(unit.cost for unit in units)]
    pieces: list[Piece] = []
    first = done = 0
    while done < len(units):
        done = _border(units, before, first=first, done=done, limit=max_tokens)
        size = before[done] - before[first]
        pieces.append(Piece(units[first].start, units[done - 1].end, round(size)))
        first = _overlap(units, before, first=first, done=done, room=(overlap_tokens, max_tokens))
    return pieces


def _units(text: str, limit: int) -> Iterator[_Unit]:
    spans = sentences.split(text)
    ends = [0, *(end for _, end in spans)]
    starts = [start for start, _ in spans]
    alone = [PARAGRAPH.search(text, *gap) is not None for gap in zip(ends, starts, strict=False)]
    alone.append(False)
    for number, (start, end) in enumerate(spans):
        sentence = text[start:end]
        border = _border_at(sentence, before=alone[number], after=alone[number + 1])
        cost = estimate_tokens(sentence)
        if cost <= limit:
            yield _Unit(start, end, cost, border)
            continue
        for left, right, part in _cut_words(sentence, max(1.0, limit * PIECE_SHARE)):
            yield _Unit(start + left, start + right, part, border if left == 0 else 0)


def _border_at(sentence: str, *, before: bool, after: bool) -> int:
    named = len(sentence) <= HEADING_CHARS and not FINAL.search(sentence)
    if HEADING.match(sentence) or (before and after and named):
        return 2
    return int(before)


def _cut_words(sentence: str, limit: float) -> Iterator[tuple[int, int, float]]:
    left = right = 0
    cost = 0.0
    for word in re.finditer(r"\S+", sentence):
        word_cost = estimate_tokens(word.group())
        if cost + word_cost > limit and right > left:
            yield left, right, cost
            left, cost = word.start(), 0.0
        if word_cost > limit:
            yield from _cut_anywhere(word, limit)
            left, right, cost = word.end(), word.end(), 0.0
            continue
        if right == left:
            left = word.start()
        right, cost = word.end(), cost + word_cost
    if right > left:
        yield left, right, cost


def _cut_anywhere(word: re.Match[str], limit: float) -> Iterator[tuple[int, int, float]]:
    # A token is a character or more, so characters are a safe count where no words are.
    step = int(limit)
    for start in range(word.start(), word.end(), step):
        end = min(start + step, word.end())
        yield start, end, float(end - start)


def _border(
    units: Sequence[_Unit], before: Sequence[float], *, first: int, done: int, limit: int
) -> int:
    end = done + 1
    while end < len(units) and before[end + 1] - before[first] <= limit:
        end += 1
    if end == len(units):
        return end
    full_enough = (
        (units[at].border, at)
        for at in range(done + 1, end + 1)
        if before[at] - before[first] >= FULL_SHARE * limit
    )
    border, at = max(full_enough, default=(0, end))
    return at if border else end


def _overlap(
    units: Sequence[_Unit],
    before: Sequence[float],
    *,
    first: int,
    done: int,
    room: tuple[int, int],
) -> int:
    if done == len(units) or units[done].border == 2:
        return done
    overlap_tokens, max_tokens = room
    start = done
    while (
        start - 1 > first
        and before[done] - before[start - 1] <= overlap_tokens
        and before[done + 1] - before[start - 1] <= max_tokens
    ):
        start -= 1
    return start
