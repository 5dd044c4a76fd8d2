"""Cuts a draft, as it arrives, into claims: a sentence, its citations, and the layout before it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from apps.core.text.sentences import split

# One mark of a finished answer; a draft may join several in one pair of brackets.
MARK = re.compile(r"\[(\d+)\]")
NUMBERS = r"\[\d{1,3}(?:\s*,\s*\d{1,3})*\]"
MARKS = re.compile(rf"(?:\s*{NUMBERS})+[.!?。]*")
# At the end of the text that has arrived, a mark may still go on: "[1" or "[1] [2" or "[1].".
OPEN_MARK = re.compile(rf"(?:\s*(?:{NUMBERS}))*[.!?。]*\s*(?:\[[\d,\s]*)?\Z")
LEAD = re.compile(r"\s*(?:[-*•]\s+|#+\s+|\d{1,2}[.)]\s+)?")


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence; `cited` are the numbers of its marks, `lead` is white space and bullet."""

    lead: str
    text: str
    cited: tuple[int, ...]


class ClaimReader:
    """Collects pieces of a draft and hands out the claims that are complete."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, piece: str) -> list[Claim]:
        """Add `piece`; return what is complete now."""
        self._rest += piece
        cut = _complete_until(self._rest)
        ready, self._rest = self._rest[:cut], self._rest[cut:]
        return list(claims(ready))

    def close(self) -> list[Claim]:
        """Return what is left."""
        ready, self._rest = self._rest, ""
        return list(claims(ready))


def claims(text: str) -> Iterator[Claim]:
    """Cut a whole text; a sentence without marks of its own has `cited` empty."""
    start = 0
    for marks in MARKS.finditer(text):
        yield from _sentences(text[start : marks.start()], marks.group())
        start = marks.end()
    yield from _sentences(text[start:], "")


def _sentences(text: str, marks: str) -> Iterator[Claim]:
    """The last sentence owns the marks, and the full stop that may follow them."""
    spans = split(text)
    before = 0
    for number, (start, end) in enumerate(spans):
        lead = LEAD.match(text, before)
        body = text[max(start, lead.end() if lead else start) : end]
        before = end
        last = number == len(spans) - 1
        cited = tuple(dict.fromkeys(map(int, re.findall(r"\d+", marks)))) if last else ()
        stop = marks[-1] if last and marks and marks[-1] in ".!?。" else ""
        if any(char.isalnum() for char in body):
            yield Claim(lead.group() if lead else "", body + stop, cited)


def _complete_until(text: str) -> int:
    """Where the last claim that cannot grow any more ends."""
    settled = len(text) - len(_tail(text))
    ends = [marks.end() for marks in MARKS.finditer(text) if marks.end() < settled]
    start = ends[-1] if ends else 0
    spans = split(text[start:settled])
    if len(spans) > 1:
        return start + spans[-2][1]
    return start


def _tail(text: str) -> str:
    found = OPEN_MARK.search(text)
    return found.group() if found else ""
