"""The sentences that may answer a question, each with what speaks for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import islice
from operator import attrgetter, mul

from apps.core.domain.models import Hit, Language
from apps.core.text.answers import Span, fitting, is_typed
from apps.core.text.language import detect
from apps.core.text.overlap import Rarity, Terms, Wanted, of_stems
from apps.core.text.questions import Question, analyse
from apps.core.text.sentences import RECORD, split
from apps.core.text.subjects import Said, subjects
from apps.core.text.tables import Row, row, table_header
from apps.core.text.tokens import normal, stems
from apps.core.text.wording import reworded


@dataclass(frozen=True, slots=True)
class Features:
    """What speaks for a sentence; shares are 0..1, switches 0 or 1.

    own: weighted share of the question's terms in the sentence or the passage's title, which a
        sentence seldom repeats.
    around: the share that only its two neighbours and the heading above it add.
    words: share of the question's whole words in the sentence.
    titled: weighted share of the question's terms in the title of a passage in its language.
    score: the passage's score as a share of the best one.
    typed: 1 when it holds a span that fits the kind of answer, -1 when it does not, 0 when the
        kind cannot be told by form.
    defines: it has the form of a definition and the question asks for one.
    short: it is no full sentence and holds nothing that fits (heading, label).
    echoes: it says hardly more than the question.
    asks: it is a question itself.
    """

    own: float
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
FINAL = re.compile(r"(?:[.!?。…]|[다요음함됨임])[\"'”’)\]*`]*$")
ASKS = re.compile(r"[?？]\W*$")
# "Step 1.", "2)", "제3조(목적)" name the sentence that follows and are no sentence.
LABEL = re.compile(
    r"\W*(?:(?:step|chapter|section|part|article)\s*\d+|제\s?\d+\s?[조항장절관](?:의\s?\d+)?"
    r"(?:\s?\([^)]*\))?|\d{1,3}|[가-하a-z])\W*",
    re.IGNORECASE,
)
HEADS = re.compile(r"^#|^제\s?\d+\s?[조장]|[?？:：]\W*$")
ITEM = re.compile(r"[-*•·|]|\d+[.)]|.*\|")
SHORT_CHARS = 12
TITLE_CHARS = 40

UNITS_SURE = 2.0
NEWS_TERMS = 2
HEADING_REACH = 5


def sentences(question: Question, hits: Sequence[Hit]) -> list[Candidate]:
    """Every sentence of the hits with its score, in the order of the hits; about 0.1 ms each."""
    parts = [cut(hit.passage.text, hit.passage.title) for hit in hits]
    rarity = Rarity.over(bag for one in parts for bag in one.bags)
    words = frozenset(stems(question.content))
    asked = _Asked(question, detect(question.text), words, rarity.wanted(of_stems(words)))
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


def is_heading(text: str) -> bool:
    """Whether a line is too short or too unfinished to be a sentence."""
    return len(text) < SHORT_CHARS or FINAL.search(text) is None


@dataclass(frozen=True, slots=True)
class Cut:
    """A passage cut into sentences, and the terms of each."""

    spans: list[Span]
    texts: list[str]
    words: list[frozenset[str]]
    bags: list[Terms]
    heading: str
    heading_words: frozenset[str]
    title: Terms
    language: Language
    rows: list[Row | None]
    known: frozenset[str]
    flat: str

    def said(self, places: Iterable[int] | None = None) -> Said:
        """The title and the sentences at `places`, or all of them."""
        if places is None:
            return Said(self.known, self.flat)
        wanted = list(places)
        words = self.heading_words.union(*(self.words[at] for at in wanted))
        return Said(words, normal("\n".join([self.heading, *(self.texts[at] for at in wanted)])))

    def speaks(self, word: str) -> bool:
        """Whether a stem stands in the passage; a Korean one may be a part of a word."""
        return word in self.known or (not word.isascii() and word in self.flat)

    def alone(self, place: int) -> bool:
        """Whether the sentence is a record, which says nothing of its neighbours."""
        return RECORD.fullmatch(self.texts[place]) is not None

    def around(self, place: int) -> Terms:
        """Terms of the two neighbours and of the nearest heading or question above.

        None of a record, whose neighbours speak of other things.
        """
        if self.alone(place):
            return frozenset()
        beside = range(max(0, place - 1), min(len(self.bags), place + 2))
        near = [*beside, *self._heading(place), *self.over_row(place)]
        return frozenset[str]().union(*(self.bags[at] for at in near))

    def over_row(self, place: int) -> list[int]:
        """Places of a row's header and of the heading over its table: what its cells mean.

        None for a header itself, and for what is no row.
        """
        header = self.header(place)
        if header is None or header == place:
            return []
        return [header, *self._heading(header)]

    def _heading(self, place: int) -> list[int]:
        above = range(place - 1, max(-1, place - HEADING_REACH), -1)
        heads = (at for at in above if HEADS.search(self.texts[at]) or self._is_title(at))
        return list(islice(heads, 1))

    def header(self, place: int) -> int | None:
        """Where the row at `place` has its table's first row; itself, if it is that row.

        None outside a table and in one whose first row looks like the others.
        """
        return table_header(self.texts, place)

    def _is_title(self, at: int) -> bool:
        text = self.texts[at]
        return len(text) < TITLE_CHARS and is_heading(text) and ITEM.match(text) is None


# About 20 kB each.
@lru_cache(maxsize=512)
def cut(text: str, title: str) -> Cut:
    """A passage in its sentences; kept, as the same passages are found again and again."""
    spans = split(text)
    texts = [text[start:end] for start, end in spans]
    words = [frozenset(stems(one)) for one in texts]
    heading = frozenset(stems(title))
    bags = [of_stems(one) for one in words]
    spoken = detect(text)
    rows = [_row(texts, place) for place in range(len(texts))]
    return Cut(
        spans,
        texts,
        words,
        bags,
        title,
        heading,
        of_stems(heading),
        spoken,
        rows,
        known=heading.union(*words),
        flat=normal("\n".join([title, *texts])),
    )


def _row(texts: Sequence[str], place: int) -> Row | None:
    header = table_header(texts, place)
    return None if header == place else row(texts[place], "" if header is None else texts[header])


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    language: Language
    words: frozenset[str]
    wanted: Wanted


def _of_passage(asked: _Asked, number: int, passage: Cut, standing: float) -> Iterator[Candidate]:
    titled = asked.wanted.recall(passage.title) if asked.language == passage.language else 0.0
    for place, (start, end) in enumerate(passage.spans):
        text, bag = passage.texts[place], passage.bags[place]
        if LABEL.fullmatch(text):
            continue
        read = [place, *passage.over_row(place)]
        said = passage.title.union(*(passage.bags[at] for at in read))
        words = frozenset[str]().union(*(passage.words[at] for at in read))
        own = asked.wanted.recall(said)
        near = asked.wanted.recall(said | passage.around(place))
        header = passage.header(place)
        its_row = passage.rows[place]
        spans = () if header == place else _spans(asked, text, its_row)
        clear = is_typed(asked.question.answer_type)
        sure = UNITS_SURE if asked.question.units else 1.0
        defines = asked.question.answer_type == "definition" and own > 0
        features = Features(
            own=own,
            around=near - own,
            words=len(asked.words & words) / len(asked.words or "-"),
            titled=titled,
            score=standing,
            typed=(sure if spans else -sure) if clear else 0.0,
            defines=float(defines and DEFINITION.search(text) is not None),
            short=float(is_heading(text) and not spans),
            echoes=float(len(bag - asked.wanted.terms) < NEWS_TERMS),
            asks=float(ASKS.search(text) is not None),
        )
        score = sum(map(mul, VALUES(features), VALUES(WEIGHTS)))
        key = _key(asked, its_row) if its_row else 0.0
        yield Candidate(
            number, place, start, end, text, spans, features, score, header, its_row, key
        )


def _spans(asked: _Asked, text: str, its_row: Row | None) -> tuple[Span, ...]:
    """What fits; in a row only that of the columns which the question names."""
    spans = tuple(fitting(asked.question, text))
    if its_row is None:
        return spans
    meant = its_row.meant(asked.wanted.terms)
    named = tuple(one for one in spans if any(cell.holds(one) for cell in meant))
    return named or spans


def _key(asked: _Asked, its_row: Row) -> float:
    """Weighted share of the terms that name no column, and share of whole words, in the cells."""
    weights = asked.wanted.weights
    sought = asked.wanted.terms - its_row.names
    total = sum(weights[term] for term in sought)
    held = sum(weights[term] for term in sought & its_row.values)
    words = asked.words - its_row.called
    return held / (total or 1.0) + len(words & its_row.words) / len(words or "-")
