"""Rows of tables: what their cells are called, and which of them a question means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from apps.core.text.numbers import ANY_DIGIT
from apps.core.text.overlap import Terms, of_stems
from apps.core.text.sentences import CELL, RECORD
from apps.core.text.tokens import stems

FIELD = re.compile(r"([^:;\n]+): ([^;\n]+)")


@dataclass(frozen=True, slots=True)
class Cell:
    """The value at [start, end) of a row, and the stems of its column's name."""

    name: frozenset[str]
    start: int
    end: int

    def holds(self, span: tuple[int, int]) -> bool:
        """Whether the cell holds [start, end) of the row."""
        return self.start <= span[0] and span[1] <= self.end


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    names, called: terms and whole words of the columns' names; values, words: of the cells.
    """

    cells: tuple[Cell, ...]
    names: Terms
    called: frozenset[str]
    values: Terms
    words: frozenset[str]

    def meant(self, asked: Terms) -> tuple[Cell, ...]:
        """The cells whose column the question names best; none when it names no column."""
        shares = [_share(of_stems(cell.name), asked) for cell in self.cells]
        best = max(shares, default=0.0)
        if not best:
            return ()
        return tuple(cell for cell, share in zip(self.cells, shares, strict=True) if share == best)


def row(text: str, header: str | None) -> Row | None:
    """Read a record of a table file, or a line of cells under the line of their names."""
    cells = _fields(text) if RECORD.fullmatch(text) else _columns(text, header or "")
    if not cells:
        return None
    said = frozenset(stems("\n".join(text[cell.start : cell.end] for cell in cells)))
    called = frozenset[str]().union(*(cell.name for cell in cells))
    return Row(cells, of_stems(called), called, of_stems(said), said)


def table_header(texts: Sequence[str], place: int) -> int | None:
    """Where the row at `place` of `texts` has its table's first row; itself, if it is that row.

    None outside a table. None too where a table goes on that began in another passage: its first
    row has digits in the same columns as its second.
    """
    if CELL not in texts[place]:
        return None
    first = last = place
    while first > 0 and CELL in texts[first - 1]:
        first -= 1
    while last + 1 < len(texts) and CELL in texts[last + 1]:
        last += 1
    if first == last:
        return first if not ANY_DIGIT.search(texts[first]) else None
    top, below = _digits(texts[first]), _digits(texts[first + 1])
    return first if top != below or not any(top) else None


def _digits(text: str) -> list[bool]:
    return [ANY_DIGIT.search(cell) is not None for cell in text.split(CELL)]


def _fields(text: str) -> tuple[Cell, ...]:
    return tuple(Cell(frozenset(stems(one[1])), *one.span(2)) for one in FIELD.finditer(text))


def _columns(text: str, header: str) -> tuple[Cell, ...]:
    names, values = header.split(CELL), text.split(CELL)
    if len(names) != len(values) or len(values) < 2:
        return ()
    cells, at = [], 0
    for name, value in zip(names, values, strict=True):
        cells.append(Cell(frozenset(stems(name)), at, at + len(value)))
        at += len(value) + len(CELL)
    return tuple(cells)


def _share(name: Terms, asked: Terms) -> float:
    return len(name & asked) / len(name) if name else 0.0
