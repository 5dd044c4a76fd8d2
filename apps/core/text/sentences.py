"""Where the sentences of a Korean or English text begin and end, as exact offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A run of final marks, with the quotes and brackets that close after it.
END = re.compile(r"[.!?。！？…]+[\"'”’»)\]】」』》*_`]*")
BREAK = re.compile(r"\n")
ABBREVIATION_LIST = """
mr mrs ms dr prof st sr jr vs etc no nos vol fig figs eq al approx inc ltd co corp dept est
gen gov rep sen rev capt col lt maj sgt jan feb mar apr jun jul aug sep sept oct nov dec
e.g i.e cf p pp ch sec ed eds a.m p.m u.s u.k u.n ph.d b.c a.d d.c
"""
ABBREVIATIONS = frozenset(ABBREVIATION_LIST.split())
WORD_BEFORE = re.compile(r"[\w.]*\Z")
LIST_MARK = re.compile(
    r"[ \t]*(?:[-*+•·▪■□○●◦▶※◇◆ㅇ①-⑳#>|]|\(?\d{1,3}[.)]|\(?[가-하a-zA-Z][.)])(?!\w)"
)
# A line of at least this many characters without a final mark was wrapped by a layout program
# (pages of PDF files), so its newline is a space; a shorter one is a heading or a list item.
WRAPPED_CHARS = 40
LONGEST_CHARS = 1_000
# Between the cells of a row of a table, which is never wrapped.
CELL = " | "
# A row of a table file as it is ingested: "station: City Hall; lift: yes; note: terminus".
RECORD = re.compile(r"[^:;\n]{1,80}: [^;\n]+(?:; [^:;\n]{1,80}: [^;\n]+){2,}")


def split(text: str) -> list[tuple[int, int]]:
    """Cut `text` into sentences.

    A sentence ends at `.`, `!`, `?`, their full-width forms or `…`, and at a newline that is not
    a soft wrap. Decimals, abbreviations, initials and list numbers do not end one.

    Returns:
        [start, end) offsets, in order, without overlap and without surrounding white space;
        whatever lies outside is white space.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for end in _ends(text):
        if end > start:
            _append_trimmed(text, start, end, spans)
            start = end
    _append_trimmed(text, start, len(text), spans)
    return spans


def _ends(text: str) -> Iterator[int]:
    marks = [match.end() for match in END.finditer(text) if _ends_sentence(text, match)]
    breaks = [match.start() for match in BREAK.finditer(text) if _breaks_line(text, match.start())]
    yield from sorted({*marks, *breaks})


def _append_trimmed(text: str, start: int, end: int, spans: list[tuple[int, int]]) -> None:
    piece = text[start:end]
    left = start + len(piece) - len(piece.lstrip())
    right = start + len(piece.rstrip())
    while right - left > LONGEST_CHARS:
        cut = max(text.rfind("\n", left, left + LONGEST_CHARS), left)
        if cut == left:
            break
        spans.append((left, left + len(text[left:cut].rstrip())))
        left = cut + len(text[cut:right]) - len(text[cut:right].lstrip())
    if right > left:
        spans.append((left, right))


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    marks = match.group()
    after = text[match.end() : match.end() + 1]
    before = text[match.start() - 1 : match.start()]
    if marks[0] != "." or len(marks.rstrip("\"'”’»)]】」』》*_`")) > 1:
        return after == "" or after.isspace() or _is_hangul(before) or marks[0] in "。！？"
    if after and not after.isspace():
        # "했다.그리고": Korean typists drop the space, and no Korean word holds a full stop.
        return _is_hangul(before) and _is_hangul(after) and _is_final(before)
    return not _is_abbreviation(text, match.start())


def _is_hangul(char: str) -> bool:
    return "\uac00" <= char <= "\ud7a3"


def _is_final(char: str) -> bool:
    return char in "다요까죠네음함임됨"


def _is_abbreviation(text: str, dot: int) -> bool:
    found = WORD_BEFORE.search(text, max(0, dot - 12), dot)
    word = found.group() if found else ""
    if not word:
        return False
    line_start = text.rfind("\n", 0, dot) + 1
    if word.isdigit():
        # "1. Install": a number alone at the start of its line is a mark, not a sentence.
        return len(word) <= 3 and text[line_start:dot].strip() == word
    if len(word) == 1 and word.isascii() and word.isupper():
        return True
    if len(word) == 1 and _is_hangul(word):
        return text[line_start:dot].strip() == word
    return word.lower() in ABBREVIATIONS and text[dot + 1 : dot + 2] != "\n"


def _breaks_line(text: str, newline: int) -> bool:
    line_start = text.rfind("\n", 0, newline) + 1
    line = text[line_start:newline].rstrip()
    following_end = text.find("\n", newline + 1)
    following = text[newline + 1 : following_end if following_end >= 0 else len(text)]
    if len(line) < WRAPPED_CHARS or not following.strip() or CELL in line or CELL in following:
        return True
    return LIST_MARK.match(following) is not None
