"""A passage cut into sentences: the terms of each, its heading, and its row of a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from apps.core.domain.models import Language
from apps.core.text.answers import Span
from apps.core.text.language import detect
from apps.core.text.overlap import Terms, of_stems
from apps.core.text.sentences import RECORD, split
from apps.core.text.subjects import Said
from apps.core.text.tables import Row, row, table_header
from apps.core.text.tokens import normal, stems

FINAL = re.compile(r"(?:[.!?。…]|[다요음함됨임])[\"'”’)\]*`]*$")
HEADS = re.compile(r"^#|^제\s?\d+\s?[조장]|[?？:：]\W*$")
ITEM = re.compile(r"[-*•·|]|\d+[.)]|.*\|")
# "나이: 만 19세 이상": the label and what it is a label of.
FIELD = re.compile(r"[^:.?!\n]{1,30}: \S")
SHORT_CHARS = 12
TITLE_CHARS = 40
HEADING_REACH = 12


@dataclass(frozen=True, slots=True)
class Cut:
    """A passage and, by the place of each sentence, what is known of it.

    title: terms of the passage's title; `title_text` and `title_words` are the same unread.
    headers: place of the first row of its table; its own, if it is that row.
    headings: place of the nearest heading or question above.
    rows: the row that it is. known, flat: stems and plain text of all, with the title.
    """

    spans: list[Span]
    texts: list[str]
    words: list[frozenset[str]]
    bags: list[Terms]
    headers: list[int | None]
    headings: list[int | None]
    rows: list[Row | None]
    title: Terms
    title_text: str
    title_words: frozenset[str]
    known: frozenset[str]
    flat: str
    language: Language

    def said(self, places: Iterable[int] | None = None) -> Said:
        """The title and the sentences at `places`, or all of them."""
        if places is None:
            return Said(self.known, self.flat)
        wanted = list(places)
        words = self.title_words.union(*(self.words[at] for at in wanted))
        return Said(words, normal("\n".join([self.title_text, *(self.texts[at] for at in wanted)])))

    def speaks(self, word: str) -> bool:
        """Whether a stem or a phrase stands in it; a Korean stem may be a part of a word."""
        whole = word.isascii() and " " not in word
        return word in self.known or (not whole and word in self.flat)

    def is_title(self, place: int) -> bool:
        """Whether the sentence is the title once more, which answers nothing."""
        return bool(self.title_words) and self.words[place] == self.title_words

    def alone(self, place: int) -> bool:
        """Whether the sentence is a record, which says nothing of its neighbours."""
        return RECORD.fullmatch(self.texts[place]) is not None

    def beside(self, place: int) -> list[int]:
        """Places of the two neighbours; none of a record, whose neighbours speak of others."""
        if self.alone(place):
            return []
        return [at for at in (place - 1, place + 1) if 0 <= at < len(self.texts)]

    def over_row(self, place: int) -> list[int]:
        """Places of a row's header and of the heading over its table: what its cells mean.

        None for a header itself, and for what is no row.
        """
        header = self.headers[place]
        return [] if header is None or header == place else [header, *self.heading(header)]

    def heading(self, place: int) -> list[int]:
        """Place of the heading, if there is one; none of a record."""
        above = self.headings[place]
        return [] if above is None or self.alone(place) else [above]


# About 20 kB each.
@lru_cache(maxsize=512)
def cut(text: str, title: str) -> Cut:
    """A passage in its sentences; kept, as the same passages are found again and again."""
    spans = split(text)
    texts = [text[start:end] for start, end in spans]
    words = [frozenset(stems(one)) for one in texts]
    title_words = frozenset(stems(title))
    headers = [table_header(texts, place) for place in range(len(texts))]
    return Cut(
        spans=spans,
        texts=texts,
        words=words,
        bags=[of_stems(one) for one in words],
        headers=headers,
        headings=_headings(texts),
        rows=[_row(texts, place, header) for place, header in enumerate(headers)],
        title=of_stems(title_words),
        title_text=title,
        title_words=title_words,
        known=title_words.union(*words),
        flat=normal("\n".join([title, *texts])),
        language=detect(text),
    )


def is_heading(text: str) -> bool:
    """Whether a line is too short or too unfinished to be a sentence."""
    return FIELD.match(text) is None and (len(text) < SHORT_CHARS or FINAL.search(text) is None)


def _headings(texts: Sequence[str]) -> list[int | None]:
    found: list[int | None] = []
    last: int | None = None
    for place, text in enumerate(texts):
        found.append(last if last is not None and place - last < HEADING_REACH else None)
        if HEADS.search(text) or _is_title(text):
            last = place
    return found


def _is_title(text: str) -> bool:
    return len(text) < TITLE_CHARS and is_heading(text) and ITEM.match(text) is None


def _row(texts: Sequence[str], place: int, header: int | None) -> Row | None:
    return None if header == place else row(texts[place], "" if header is None else texts[header])
