"""The sentences that may answer a question, each with what speaks for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter, mul

from apps.core.domain.models import Hit, Language
from apps.core.llm.cut import Cut, cut, is_heading
from apps.core.text.answers import Span, fitting, is_typed
from apps.core.text.language import detect
from apps.core.text.numbers import UNITS
from apps.core.text.overlap import Rarity, Wanted, of_stems
from apps.core.text.questions import Question, analyse
from apps.core.text.roles import role, unfilled
from apps.core.text.subjects import subjects
from apps.core.text.tables import Row
from apps.core.text.thesaurus import instead
from apps.core.text.tokens import stems
from apps.core.text.wording import reworded


@dataclass(frozen=True, slots=True)
class Features:
    """What speaks for a sentence; shares are 0..1, switches 0 or 1.

    own: weighted share of the question's terms in the sentence or the passage's title, which a
        sentence seldom repeats.
    headed: the share that only the heading above it adds.
    around: the share that only its two neighbours add.
    words: share of the question's whole words in the sentence.
    titled: weighted share of the question's terms in the title of a passage in its language.
    score: the passage's score as a share of the best one.
    typed: 1 when it holds a span that fits the kind of answer, -1 when it does not, twice that
        when the question names the unit, 0 when the kind cannot be told by form.
    defines: it has the form of a definition and the question asks for one.
    short: it is no full sentence and holds nothing that fits (heading, label).
    echoes: it says hardly more than the question.
    asks: it is a question itself.
    """

    own: float
    headed: float
    around: float
    words: float
    titled: float
    score: float
    typed: float
    defines: float
    short: float
    echoes: float
    asks: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """Sentence number `place` of passage `hit`, at [start, end) of the passage's own text.

    `spans` are offsets into `text` of what fits the kind of answer; `header` is the place of the
    first row of the table that the sentence is a row of, `row` that row and `key` how well its
    cells hold what the question asks for besides the names of columns.
    """

    hit: int
    place: int
    start: int
    end: int
    text: str
    spans: tuple[Span, ...]
    features: Features
    score: float
    header: int | None = None
    row: Row | None = None
    key: float = 0.0


WEIGHTS = Features(
    own=7.0,
    headed=6.0,
    around=3.0,
    words=2.5,
    titled=1.5,
    score=5.0,
    typed=0.9,
    defines=0.6,
    short=-2.0,
    echoes=-3.0,
    asks=-1.5,
)
VALUES = attrgetter(*(field.name for field in fields(Features)))
DEFINITION = re.compile(
    r"(?:란\s|은\s|는\s|라고\s).*(?:이다|입니다|한다|합니다|된다|됩니다|부른다|이며)\W*$"
    r"|\b(?:is|are|was|means?|refers? to|denotes?)\b",
    re.IGNORECASE,
)
ASKS = re.compile(r"[?？]\W*$")
# "Step 1.", "2)", "제3조(목적)" name the sentence that follows and are no sentence.
LABEL = re.compile(
    r"\W*(?:(?:step|chapter|section|part|article)\s*\d+|제\s?\d+\s?[조항장절관](?:의\s?\d+)?"
    r"(?:\s?\([^)]*\))?|\d{1,3}|[가-하a-z])\W*",
    re.IGNORECASE,
)
UNITS_SURE = 2.0
NEWS_TERMS = 2


def sentences(question: Question, hits: Sequence[Hit]) -> list[Candidate]:
    """Every sentence of the hits with its score, in the order of the hits; about 0.1 ms each."""
    parts = [cut(hit.passage.text, hit.passage.title) for hit in hits]
    rarity = Rarity.over(bag for one in parts for bag in one.bags)
    words = frozenset(stems(question.content))
    office = role(question)
    others = (other for word in words if (other := instead(word)) is not None)
    wanted = rarity.wanted(of_stems(words), others)
    asked = _Asked(question, detect(question.text), words, wanted, office)
    best = max((hit.score for hit in hits), default=0.0)
    found: list[Candidate] = []
    for number, (hit, one) in enumerate(zip(hits, parts, strict=True)):
        standing = hit.score / best if best > 0 else 1.0
        found.extend(_of_passage(asked, number, one, standing))
    return found


def in_their_words(question: str, hits: Sequence[Hit]) -> Question:
    """Read a question, with words that no hit has exchanged for those that a hit has."""
    asked = analyse(question)
    parts = [cut(hit.passage.text, hit.passage.title) for hit in hits]
    new = reworded(
        question,
        subjects(asked),
        known=frozenset[str]().union(*(one.known for one in parts)),
        place=lambda word: next((at for at, one in enumerate(parts) if one.speaks(word)), None),
    )
    return asked if new == question else analyse(new)


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    language: Language
    words: frozenset[str]
    wanted: Wanted
    office: str | None


def _of_passage(asked: _Asked, number: int, passage: Cut, standing: float) -> Iterator[Candidate]:
    titled = asked.wanted.recall(passage.title) if asked.language == passage.language else 0.0
    office, known = asked.office, asked.question.text
    for place, (start, end) in enumerate(passage.spans):
        text, header, its_row = passage.texts[place], passage.headers[place], passage.rows[place]
        if (
            passage.is_title(place)
            or LABEL.fullmatch(text)
            or (office and unfilled(office, text, known=known))
        ):
            continue
        spans = () if header == place else _spans(asked, text, its_row)
        features = _features(asked, passage, place, spans=spans, titled=titled, standing=standing)
        yield Candidate(
            hit=number,
            place=place,
            start=start,
            end=end,
            text=text,
            spans=spans,
            features=features,
            score=sum(map(mul, VALUES(features), VALUES(WEIGHTS))),
            header=header,
            row=its_row,
            key=_key(asked, its_row) if its_row else 0.0,
        )


def _features(
    asked: _Asked,
    passage: Cut,
    place: int,
    *,
    spans: Sequence[Span],
    titled: float,
    standing: float,
) -> Features:
    text, bags, recall = passage.texts[place], passage.bags, asked.wanted.recall
    read = [place, *passage.over_row(place)]
    said = passage.title.union(*(bags[at] for at in read))
    topic = said.union(*(bags[at] for at in passage.heading(place)))
    near = topic.union(*(bags[at] for at in passage.beside(place)))
    words = frozenset[str]().union(*(passage.words[at] for at in read))
    own, headed = recall(said), recall(topic)
    sure = UNITS_SURE if asked.question.units else 1.0
    clear = is_typed(asked.question.answer_type)
    defines = asked.question.answer_type == "definition" and own > 0
    return Features(
        own=own,
        headed=headed - own,
        around=recall(near) - headed,
        words=len(asked.words & words) / len(asked.words or "-"),
        titled=titled,
        score=standing,
        typed=(sure if spans else -sure) if clear else 0.0,
        defines=float(defines and DEFINITION.search(text) is not None),
        short=float(is_heading(text) and not spans and passage.rows[place] is None),
        echoes=float(len(bags[place] - asked.wanted.terms) < NEWS_TERMS),
        asks=float(ASKS.search(text) is not None),
    )


def _spans(asked: _Asked, text: str, its_row: Row | None) -> tuple[Span, ...]:
    """What fits; in a row only that of the columns which the question names."""
    if its_row is None:
        return tuple(fitting(asked.question, text))
    spans = tuple(fitting(_in_table(asked.question, its_row), text))
    meant = its_row.meant(asked.wanted.terms)
    named = tuple(one for one in spans if any(cell.holds(one) for cell in meant))
    return named or spans


def _in_table(question: Question, its_row: Row) -> Question:
    """A table says once, over its column or beside it, what its numbers are of."""
    said = its_row.called | its_row.words
    units = {UNITS.get(word) for word in said}
    named = not units.isdisjoint(question.units) or question.counted in said
    return replace(question, units=(), counted="") if named else question


def _key(asked: _Asked, its_row: Row) -> float:
    """Weighted share of the terms that name no column, and share of whole words, in the cells."""
    weights = asked.wanted.weights
    sought = asked.wanted.terms - its_row.names
    total = sum(weights[term] for term in sought)
    held = sum(weights[term] for term in sought & its_row.values)
    words = asked.words - its_row.called
    return held / (total or 1.0) + len(words & its_row.words) / len(words or "-")
