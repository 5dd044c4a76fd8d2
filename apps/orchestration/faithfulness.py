"""Whether a passage supports a claim, and where: deterministic, no model ("faithfulness v1").

A claim is a sentence without its citations. Its support is the weighted share of its terms that
a window of three sentences holds; numbers, dates, names, identifiers and quotations of the claim
must stand in that window. It misses paraphrase, so its verdicts are a lower bound. Across
languages no words are shared; there the numbers and Latin names must all be found, and at least
one must be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from apps.core.domain.models import Language
from apps.core.text.contradiction import contradicts, negations
from apps.core.text.language import detect
from apps.core.text.names import foreign_names, foreign_quotations, names, squeeze
from apps.core.text.numbers import holds, quantities, values
from apps.core.text.overlap import Rarity, Terms, terms
from apps.core.text.sentences import split

WINDOW = 3
SUPPORTED = 0.6
NEGATION_COST = 0.3
# A smaller run of sentences replaces the window when it supports nearly as well.
SLACK = 0.02


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a passage supports a claim: best at [start, end) of its text.

    faults: hard rules that are broken: number, name, quotation, contradiction.
    """

    support: float
    start: int
    end: int
    faults: tuple[str, ...]

    @property
    def supported(self) -> bool:
        """Whether the claim may stand."""
        return self.support >= SUPPORTED and not self.faults


class Evidence:
    """A passage prepared for many claims."""

    def __init__(self, text: str, title: str = "") -> None:
        self.text = text
        self.title = title
        self.spans: Sequence[tuple[int, int]] = split(text) or [(0, len(text))]

    @cached_property
    def language(self) -> Language:
        """Of the passage."""
        return detect(self.text)

    @cached_property
    def bags(self) -> list[Terms]:
        """Terms of each sentence."""
        return [claim_terms(self.text[start:end]) for start, end in self.spans]

    @cached_property
    def title_terms(self) -> Terms:
        """Terms of the title, which a claim may use instead of a pronoun."""
        return terms(self.title)

    @cached_property
    def rarity(self) -> Rarity:
        """How rare a term is among the sentences."""
        return Rarity.over(self.bags, unseen=1)

    @cached_property
    def flat(self) -> tuple[str, list[int]]:
        """Letters and digits only, and where each of them stands in the text."""
        return squeeze(self.text)

    def bounds(self, run: range) -> tuple[int, int]:
        """[start, end) of a run of sentences."""
        return self.spans[run[0]][0], self.spans[run[-1]][1]


class _Sought:
    """The terms of a claim, weighed by one passage, and which of its sentences hold them."""

    def __init__(self, claim: str, evidence: Evidence) -> None:
        sought = claim_terms(claim)
        self._wanted = evidence.rarity.wanted(sought)
        self._title = sought & evidence.title_terms
        self._held = [sought & bag for bag in evidence.bags]

    def recall(self, run: range) -> float:
        """Share of the claim's weight that the sentences of `run` and the title hold."""
        return self._wanted.recall(self._title.union(*(self._held[at] for at in run)))


def judge(claim: str, evidence: Evidence, *, cited: bool = True) -> Judgement:
    """Find the run of at most three sentences that supports `claim` best; about 1 ms.

    Args:
        claim: a sentence without marks.
        evidence: one passage.
        cited: whether the writer named this passage; only then another language may support.
    """
    literal = _literally(claim, evidence)
    if literal is not None:
        return literal
    sought = _Sought(claim, evidence)
    count = len(evidence.spans)
    windows = [range(at, min(at + WINDOW, count)) for at in range(max(1, count - WINDOW + 1))]
    best = max(windows, key=sought.recall)
    if sought.recall(best) < SUPPORTED:
        if cited and detect(claim) != evidence.language:
            return _across_languages(claim, evidence, windows)
        return Judgement(sought.recall(best), *evidence.bounds(best), ())
    return min(
        (_judge_run(claim, sought, evidence, run) for run in _narrowed(sought, best)),
        key=lambda verdict: (len(verdict.faults), -verdict.support),
    )


def claim_terms(text: str) -> Terms:
    """`terms` with each number as its value, so that "1,000" and "1000" are one term."""
    words, values_of, before = "", [], 0
    for number in quantities(text):
        words += f"{text[before : number.start]} "
        before = max(before, number.end)
        values_of.append(f"#{number.value}")
    return terms(words + text[before:]).union(values_of)


def _across_languages(claim: str, evidence: Evidence, windows: list[range]) -> Judgement:
    numbers, latin = quantities(claim), names(claim)
    for run in windows:
        start, end = evidence.bounds(run)
        text = evidence.text[start:end]
        known = values(text)
        # Counters are words of their language ("46곳", "46 stations"); the value must be there.
        anchored = all((number.value, "*") in known for number in numbers)
        if (numbers or latin) and anchored and not foreign_names(claim, text):
            return Judgement(SUPPORTED, start, end, ())
    return Judgement(0.0, *evidence.bounds(windows[0]), ())


def _literally(claim: str, evidence: Evidence) -> Judgement | None:
    """Whole sentences word for word need no rules; a part of one may hide its negation."""
    needle, _ = squeeze(claim)
    flat, places = evidence.flat
    at = flat.find(needle) if needle else -1
    while at >= 0:
        first, last = places[at], places[at + len(needle) - 1]
        touched = [span for span in evidence.spans if span[0] <= last and first < span[1]]
        start, end = touched[0][0], touched[-1][1]
        if squeeze(evidence.text[start:end])[0] == needle:
            return Judgement(1.0, start, end, ())
        at = flat.find(needle, at + 1)
    return None


def _narrowed(sought: _Sought, window: range) -> Iterator[range]:
    """The shortest runs inside the window that support nearly as well, and the window."""
    enough = sought.recall(window) - SLACK
    for length in range(1, len(window)):
        starts = range(window.start, window.stop - length + 1)
        runs = [range(start, start + length) for start in starts]
        good = [run for run in runs if sought.recall(run) >= enough]
        if good:
            yield from good
            break
    yield window


def _judge_run(claim: str, sought: _Sought, evidence: Evidence, run: range) -> Judgement:
    start, end = evidence.bounds(run)
    text = evidence.text[start:end]
    closest = max(run, key=lambda at: sought.recall(range(at, at + 1)))
    sentence = evidence.text[slice(*evidence.spans[closest])]
    support = sought.recall(run)
    if bool(negations(claim)) != bool(negations(sentence)):
        support -= NEGATION_COST
    faults = tuple(_faults(claim, text, evidence.title, sentence))
    return Judgement(max(0.0, support), start, end, faults)


def _faults(claim: str, text: str, title: str, sentence: str) -> Iterator[str]:
    known = values(text)
    if not all(holds(number, known) for number in quantities(claim)):
        yield "number"
    if foreign_names(claim, f"{title}\n{text}"):
        yield "name"
    if foreign_quotations(claim, text):
        yield "quotation"
    if contradicts(claim, sentence, f"{title}\n{text}"):
        yield "contradiction"
