"""From a draft to what the caller gets: sentences that hold, their exact places, a confidence.

Citations are resolved by code: the span is where the text supports the sentence, whatever the
model says. A sentence that its cited passages do not support is tried against the others, and
dropped when none does. Streamed and plain answers take the same path, sentence by sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from apps.core.domain.models import Citation, Hit
from apps.orchestration.claims import Claim, ClaimReader
from apps.orchestration.faithfulness import Evidence, Judgement, judge

SHORT_FIRST = re.compile(r"(?P<short>[^—]{1,80}) — (?P<rest>.+)", re.DOTALL)
BLANK_LEAD = re.compile(r"[^\S\n]+")


@dataclass(frozen=True, slots=True)
class Place:
    """[start, end) of the passage text of `hits[hit]`."""

    hit: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Verified:
    """A sentence that holds, how well (0..1), and where, best place first."""

    text: str
    support: float
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Grounded:
    """A finished answer; `tail` is the last of its text that no `add` has returned.

    `dropped` counts sentences that nothing supports. No citations: nothing held, so abstain.
    """

    answer: str
    citations: tuple[Citation, ...]
    confidence: float
    dropped: int
    tail: str


class Verifier(Protocol):
    """Judges one sentence; another judge (a model) may take the place of `Checker`."""

    def verify(self, sentence: str, cited: Sequence[int]) -> Verified | None:
        """Return the sentence with its places, or None when nothing supports it."""


class Checker:
    """Faithfulness v1 over the passages of one answer, each prepared once."""

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._passages = [Evidence(hit.passage.text, hit.passage.title) for hit in hits]

    def verify(self, sentence: str, cited: Sequence[int]) -> Verified | None:
        """Look into the cited passages first, then into all others.

        Args:
            sentence: without its marks; "12명 — …" counts as what follows when it contains "12명".
            cited: numbers of passages as in [n], 1 is first; unknown numbers are ignored.
        """
        claim = _without_short_answer(sentence)
        named = [number - 1 for number in cited if 0 < number <= len(self._passages)]
        others = [at for at in range(len(self._passages)) if at not in named]
        found = self._places(claim, named, cited=True)
        found = found or self._places(claim, others, cited=False)[:1]
        if not found:
            return None
        return Verified(sentence, found[0][1].support, tuple(_place(*one) for one in found))

    def _places(
        self, claim: str, passages: Sequence[int], *, cited: bool
    ) -> list[tuple[int, Judgement]]:
        judged = [(at, judge(claim, self._passages[at], cited=cited)) for at in passages]
        return sorted(
            ((at, verdict) for at, verdict in judged if verdict.supported),
            key=lambda one: -one[1].support,
        )


def verify(sentence: str, hits: Sequence[Hit], cited: Sequence[int]) -> Verified | None:
    """Judge one sentence by faithfulness v1; prefer a `Grounder` for a whole answer."""
    return Checker(hits).verify(sentence, cited)


class Grounder:
    """Turns a draft into an answer while it arrives."""

    def __init__(
        self,
        hits: Sequence[Hit],
        *,
        preface: str = "",
        prior: float = 1.0,
        verifier: Verifier | None = None,
    ) -> None:
        """Prepare.

        Args:
            hits: the passages that the draft's [n] number, 1 is first.
            preface: a fixed message before the answer, shown only when something holds.
            prior: how probable it was, before drafting, that the passages answer the question.
            verifier: judges the sentences; faithfulness v1 by default.
        """
        self._hits = hits
        self._preface = preface
        self._prior = prior
        self._verifier = verifier or Checker(hits)
        self._reader = ClaimReader()
        self._written = ""
        self._citations: dict[Place, Citation] = {}
        self._supports: list[float] = []
        self._dropped = 0

    def add(self, piece: str) -> str:
        """Take a piece of the draft; return the text that is settled now, maybe none."""
        return "".join(map(self._settle, self._reader.feed(piece)))

    def close(self) -> Grounded:
        """Settle the rest and sum up."""
        tail = "".join(map(self._settle, self._reader.close()))
        return Grounded(
            self._written, tuple(self._citations.values()), self._confidence(), self._dropped, tail
        )

    def _settle(self, claim: Claim) -> str:
        verified = self._verifier.verify(claim.text, claim.cited)
        if verified is None:
            self._dropped += 1
            return ""
        self._supports.append(verified.support)
        marks = "".join(dict.fromkeys(f"[{self._number(place)}]" for place in verified.places))
        text = f"{self._lead(claim.lead)}{claim.text} {marks}"
        self._written += text
        return text

    def _lead(self, lead: str) -> str:
        if self._written:
            return lead if "\n" in lead else " "
        bullet = lead.strip()
        opening = f"{bullet} " if bullet else ""
        return f"{self._preface}\n\n{opening}" if self._preface else opening

    def _number(self, place: Place) -> int:
        if place not in self._citations:
            hit = self._hits[place.hit]
            self._citations[place] = _citation(hit, place, len(self._citations) + 1)
        return self._citations[place].index

    def _confidence(self) -> float:
        """Prior times mean support times the share of sentences that held."""
        if not self._supports:
            return 0.0
        held = len(self._supports) / (len(self._supports) + self._dropped)
        return self._prior * held * sum(self._supports) / len(self._supports)


def finish(draft: str, hits: Sequence[Hit], *, preface: str = "", prior: float = 1.0) -> Grounded:
    """Ground a whole draft at once; see `Grounder`."""
    grounder = Grounder(hits, preface=preface, prior=prior)
    grounder.add(draft)
    return grounder.close()


def sources(citations: Sequence[Citation]) -> tuple[Citation, ...]:
    """One citation for each cited document, best score first."""
    best: dict[str, Citation] = {}
    for one in sorted(citations, key=lambda citation: -citation.score):
        best.setdefault(one.doc_id, one)
    return tuple(best.values())


def _without_short_answer(sentence: str) -> str:
    found = SHORT_FIRST.fullmatch(sentence)
    return found["rest"] if found and found["short"] in found["rest"] else sentence


def _place(hit: int, verdict: Judgement) -> Place:
    return Place(hit, verdict.start, verdict.end)


def _citation(hit: Hit, place: Place, index: int) -> Citation:
    passage = hit.passage
    return Citation(
        index=index,
        chunk_id=passage.chunk_id,
        doc_id=passage.doc_id,
        title=passage.title,
        quote=passage.text[place.start : place.end],
        span=(passage.start + place.start, passage.start + place.end),
        source=passage.source,
        score=hit.score,
    )
