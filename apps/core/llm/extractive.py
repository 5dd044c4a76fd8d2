"""Answers without a model: the sentences of the passages that answer best, each with its place.

This is a product mode: it serves without a key, and it is the last link but one of the fallback
chain. It never writes a word of its own; the short answer is a part of a quoted sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.core.domain.models import AnswerMode, Hit, Language
from apps.core.llm.candidates import Candidate, in_their_words, sentences
from apps.core.llm.evidence import Evidence, strange, weigh
from apps.core.text.answers import FREE, WEEKDAY, bounded
from apps.core.text.language import detect
from apps.core.text.overlap import terms
from apps.core.text.questions import AnswerType, Question
from apps.core.text.tokens import stem, stems


@dataclass(frozen=True, slots=True)
class Support:
    """Where a sentence stands: [start, end) of the passage text of `hits[hit_index]`."""

    hit_index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DraftSentence:
    """A sentence of the answer; `text` equals the passage text at its first citation."""

    text: str
    citations: tuple[Support, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """An extracted answer; no sentences when nothing was found.

    short_answer: a part of the first sentence that fits the kind of answer, when one stands out.
    support: 0..1, weighted share of the question's terms in the best sentence and its neighbours.
    terms: how many terms the question has.
    evidence: what else speaks for or against the answer.
    foreign: whether the best sentence is in another language than the caller's.
    strange: whether the question names things that no quoted passage speaks of together.
    """

    sentences: tuple[DraftSentence, ...]
    answer_type: AnswerType
    short_answer: str | None
    support: float
    terms: int
    evidence: Evidence
    foreign: bool
    strange: bool = False


# Sentences are added until they hold this much of the probability (softmax of the scores; the
# scores are log-linear, fitted with temperature 1). On dev: 2.0 sentences on average, and 3 hold
# the answer hardly more often.
ENOUGH = 0.9
# Nothing but the passage's rank speaks for a sentence in another language, so more are shown.
MOST: dict[AnswerMode, int] = {"answer": 3, "summary": 4, "keypoints": 5, "search": 5}
LONGEST = 5
SAME = 0.7
# Rows of a table speak of different things; another one is quoted when it fits nearly as well, as
# one of two that a question compares.
SAME_KEY = 0.7
# A part of the first sentence is shown alone when the sentence is this sure and one span fits;
# on dev that part is right in 95 of 100 cases, against 60 with several fitting spans.
SHORT_ANSWER_SHARE = 0.5
SHORT_ANSWER_TYPES = frozenset({"time", "number"})
LEANS_BACK = re.compile(
    r"(?:그[는가의를]?|그녀\S*|그들\S*|이[는를]?|이것\S*|그것\S*|이들\S*|이러한|이런|그러한|그런|이후|이로|이때|당시"
    r"|또한|그러나|하지만|그리고|따라서|그래서|그러므로|즉|반면|특히|여기)\s"
    r"|(?:he|she|it|they|this|these|those|his|her|its|their|however|but|also|thus|therefore|then"
    r"|moreover|furthermore|instead|such)\b",
    re.IGNORECASE,
)
THE_SAME = re.compile(r"The (\w+) ")
ANNOUNCES = re.compile(
    r"(?:[:：]|다음과 같(?:다|습니다)\.?|말씀드리겠습니다\.?|as follows\.?)\s*$|^#+\s|^다음\s"
    r"|\bthe following\b",
    re.IGNORECASE,
)
HEADING_CHARS = 25
SOURCE_MARK = re.compile(r"\[(\d+)\]")
LIST_MARK = re.compile(r"^(?:[-*•·]|#+)\s+")


def extract(
    question: str, hits: Sequence[Hit], *, language: Language, mode: AnswerMode = "answer"
) -> Draft:
    """Choose the sentences of `hits` that answer `question`; a few milliseconds for five hits.

    Args:
        question: as the caller typed it.
        hits: found passages, best first.
        language: of the caller.
        mode: how long and in what shape; `answer` has 1 to 3 sentences and the neighbours that
            they lean on, never more than 5.
    """
    asked = in_their_words(question, hits)
    found = sentences(asked, hits)
    ranked = _unrepeated(sorted(found, key=lambda one: -one.score))
    if not ranked:
        return Draft((), asked.answer_type, None, 0.0, 0, Evidence(), False)
    best, shares = ranked[0], _softmax([one.score for one in ranked])
    foreign = hits[best.hit].passage.language != language
    chosen = _chosen(ranked, shares, mode, most=LONGEST if foreign else MOST[mode])
    if mode == "answer":
        chosen = _with_neighbours(chosen, found)
    short = _short_answer(asked, best, shares[0]) if mode == "answer" else None
    if mode not in ("keypoints", "search"):
        chosen = _in_reading_order(chosen, first=best if short else None)
    return Draft(
        tuple(DraftSentence(one.text, (Support(one.hit, one.start, one.end),)) for one in chosen),
        asked.answer_type,
        short,
        *_support(asked, best, found, title=hits[best.hit].passage.title),
        weigh(asked, hits, chosen, best=best, language=detect(question)),
        foreign,
        strange(asked, [hits[at] for at in sorted({one.hit for one in chosen})]),
    )


def render(draft: Draft, mode: AnswerMode) -> str:
    """Write the draft as text whose sentences end in [n], the number of the hit, 1 is first."""
    lines = [f"{_plain(one.text)} {_marks(one.citations)}" for one in draft.sentences]
    if mode in ("keypoints", "search"):
        return "\n".join(f"- {line}" for line in lines)
    if draft.short_answer and lines:
        lines[0] = f"{draft.short_answer} — {lines[0]}"
    return " ".join(lines)


def _plain(text: str) -> str:
    """One line, and no [7] of the source that would look like a citation of ours."""
    return SOURCE_MARK.sub(r"(\1)", LIST_MARK.sub("", " ".join(text.split())))


def _marks(citations: Sequence[Support]) -> str:
    return "".join(f"[{one.hit_index + 1}]" for one in citations)


def _support(
    asked: Question, best: Candidate, found: Sequence[Candidate], *, title: str
) -> tuple[float, int]:
    """What the best sentence and its surroundings hold of the question, or of its core."""
    full = best.features.own + best.features.around
    core, content = terms(asked.core), terms(asked.content)
    if core == content:
        return full, len(content)
    near = (one.text for one in found if one.hit == best.hit and abs(one.place - best.place) <= 1)
    held = core & terms("\n".join([title, *near]))
    return max(full, len(held) / max(1, len(core))), len(core)


def _unrepeated(ranked: Iterable[Candidate]) -> list[Candidate]:
    """Drop sentences that overlapping passages share."""
    kept: dict[str, Candidate] = {}
    for one in ranked:
        kept.setdefault("".join(one.text.split()), one)
    return list(kept.values())


def _softmax(scores: Sequence[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def _chosen(
    ranked: Sequence[Candidate], shares: Sequence[float], mode: AnswerMode, *, most: int
) -> list[Candidate]:
    if mode == "search":
        best_of_hit = {one.hit: one for one in reversed(ranked)}
        return [best_of_hit[hit] for hit in sorted(best_of_hit)][:most]
    chosen: list[Candidate] = []
    held = 0.0
    for one, share in zip(ranked, shares, strict=True):
        if len(chosen) == most or (mode == "answer" and held >= ENOUGH):
            break
        held += share
        if not any(_needless(one, other) for other in chosen):
            chosen.append(one)
    return chosen


def _needless(one: Candidate, other: Candidate) -> bool:
    """Whether `one` adds nothing to `other`, which is quoted already.

    Rows of a table repeat its words and say different things; a second one must fit as well.
    """
    if one.row is not None and other.row is not None and one.row.names == other.row.names:
        return one.key < SAME_KEY * other.key
    return _says_the_same(one, other)


def _says_the_same(one: Candidate, other: Candidate) -> bool:
    left, right = terms(one.text), terms(other.text)
    return len(left & right) >= SAME * max(1, len(left | right))


def _with_neighbours(chosen: list[Candidate], found: Sequence[Candidate]) -> list[Candidate]:
    """Add what the best sentence leans on or is a row of, and what a heading announces."""
    by_place = {(one.hit, one.place): one for one in found}
    wanted = list(chosen)
    best = chosen[0]
    if LEANS_BACK.match(best.text):
        wanted.append(by_place.get((best.hit, best.place - 1), best))
    if best.header is not None:
        wanted.append(by_place.get((best.hit, best.header), best))
    for one in chosen:
        before = by_place.get((one.hit, one.place - 1), one)
        if _speaks_of_the_same(one.text, before.text):
            wanted.append(before)
        if _announces(one):
            wanted += [by_place.get((one.hit, one.place + step), one) for step in (1, 2)]
    return list(dict.fromkeys(wanted))[:LONGEST]


def _speaks_of_the_same(text: str, before: str) -> bool:
    """ "The file works …" after "Write the name into the file KILL": which file was said before."""
    found = THE_SAME.match(text)
    return found is not None and stem(found[1].lower()) in stems(before)


def _announces(one: Candidate) -> bool:
    """A heading, a question, the first row of a table, or a sentence that says so."""
    title = one.features.short and len(one.text) < HEADING_CHARS
    heads = one.header == one.place
    return bool(heads or title or one.features.asks or ANNOUNCES.search(one.text))


def _in_reading_order(chosen: Sequence[Candidate], first: Candidate | None) -> list[Candidate]:
    """Passages by their best sentence, sentences by their place; `first` goes before all."""
    passages = list(dict.fromkeys(one.hit for one in chosen))
    ordered = sorted(chosen, key=lambda one: (passages.index(one.hit), one.place))
    return ordered if first is None else [first, *(one for one in ordered if one != first)]


def _short_answer(asked: Question, best: Candidate, share: float) -> str | None:
    if asked.answer_type not in SHORT_ANSWER_TYPES or share < SHORT_ANSWER_SHARE:
        return None
    fitting = {best.text[start:end] for start, end in best.spans}
    short = fitting.pop() if len(fitting) == 1 else None
    # "Monday" alone is not "the second Monday of the month", nor "free" for whom.
    if short is None or WEEKDAY.fullmatch(short) or FREE.fullmatch(short):
        return None
    return " ".join(bounded(best.text, best.spans[0]).split())
