"""The two granularities of the lexical leg: whole passages by stems, windows by pairs of syllables.

A window is a few neighbouring sentences; it says where in a passage words stand together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.core.domain.models import Passage
from apps.core.retrieval import postings
from apps.core.retrieval.postings import Postings
from apps.core.text import sentences, tokens
from apps.core.text.asking import Field

PASSAGES = "passages"
WINDOWS = "windows"
OWNERS = "windows-owners"
IMPACTS = ("passages-impacts", "windows-impacts")
SPREADS = "windows-spreads"
# A window starts at each sentence and holds as many as it takes to reach this length: about
# three sentences of Korean prose, or six to ten lines of a page cut up by its layout. On the dev
# sets 150 to 300 are alike; windows of three sentences whatever their length lose two points on
# pages of short lines.
WINDOW_CHARS = 200
# A title says what the whole passage is about, so it counts as if it stood there twice. Twice or
# three times rank the dev sets alike; once loses four points of first hits on multihop-en.
TITLE_TIMES = 2
# Passages whose terms are held at a time; ten thousand take about 200 MB.
BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Grains:
    """What the lexical leg reads.

    passages: stems by row.
    windows: pairs of syllables by window.
    impacts: what the postings of both are worth.
    owners: (windows,) the row that each window belongs to, rising.
    spreads: (terms of windows,) in how many passages a pair stands.
    """

    passages: Postings
    windows: Postings
    impacts: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    owners: NDArray[np.int32]
    spreads: NDArray[np.int32]


class Dictionary:
    """Finds a field's terms; through views, whose numbers cost a fifth of what an array's cost."""

    def __init__(self, grains: Grains, field: Field) -> None:
        grain = grains.windows if field == "bigrams" else grains.passages
        self._terms = grain.terms.data
        self._starts = grain.starts.data
        self._spreads = grains.spreads.data if field == "bigrams" else None

    def find(self, word: str) -> tuple[int, int, int]:
        """Where a term's postings begin and end, and how many passages hold it; 0 for none."""
        wanted = postings.hashed(word)
        place = bisect_left(self._terms, wanted)
        if place == len(self._terms) or self._terms[place] != wanted:
            return 0, 0, 0
        begin, end = self._starts[place], self._starts[place + 1]
        return begin, end, end - begin if self._spreads is None else self._spreads[place]


NO_IMPACTS = np.zeros(0, np.uint16)
NOTHING = Grains(
    postings.NOTHING,
    postings.NOTHING,
    (NO_IMPACTS, NO_IMPACTS),
    np.zeros(0, np.int32),
    np.zeros(0, np.int32),
)


def extended(old: Grains, added: Sequence[Passage], gone: NDArray[np.bool_]) -> Grains:
    """`old` without the rows `gone`, (rows,), and with `added` in the rows that follow."""
    passages = postings.without(old.passages, gone)
    windows = postings.without(old.windows, gone[old.owners])
    owners = old.owners
    for start in range(0, len(added), BATCH):
        rows, pieces, owned = _counted(added[start : start + BATCH])
        owners = np.concatenate([owners, owned + np.int32(len(passages.lengths))])
        passages = postings.joined(passages, rows)
        windows = postings.joined(windows, pieces)
    worth = postings.impacts(passages), postings.impacts(windows)
    return Grains(passages, windows, worth, owners, _spreads(windows, owners))


def write(directory: Path, grains: Grains) -> None:
    """Write all columns into `directory`, which is made."""
    directory.mkdir(parents=True)
    postings.write(directory, PASSAGES, grains.passages)
    postings.write(directory, WINDOWS, grains.windows)
    for name, impacts in zip(IMPACTS, grains.impacts, strict=True):
        postings.save(directory, name, impacts)
    postings.save(directory, OWNERS, grains.owners)
    postings.save(directory, SPREADS, grains.spreads)


def read(directory: Path) -> Grains:
    """Open what `write` wrote; the columns stay on the disk until they are used."""
    return Grains(
        postings.read(directory, PASSAGES),
        postings.read(directory, WINDOWS),
        (postings.load(directory, IMPACTS[0]), postings.load(directory, IMPACTS[1])),
        postings.load(directory, OWNERS),
        postings.load(directory, SPREADS),
    )


def windows(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """[start, end) over sentences: from each one on until `WINDOW_CHARS` or the end."""
    found: list[tuple[int, int]] = []
    for start in range(len(pieces)):
        end, length = start, 0
        while end < len(pieces) and length < WINDOW_CHARS:
            length += len(pieces[end]) + 1
            end += 1
        found.append((start, end))
        if end == len(pieces):
            break
    return found or [(0, 0)]


def _counted(added: Sequence[Passage]) -> tuple[Postings, Postings, NDArray[np.int32]]:
    stems: list[list[str]] = []
    pairs: list[list[str]] = []
    owners: list[int] = []
    for row, passage in enumerate(added):
        pieces = [passage.text[start:end] for start, end in sentences.split(passage.text)]
        title = " ".join([passage.title] * TITLE_TIMES)
        stems.append([word for text in (title, *pieces) for word in tokens.stems(text)])
        found = [*_window_terms(title, pieces)]
        pairs += found
        owners += [row] * len(found)
    return postings.counted(stems), postings.counted(pairs), np.array(owners, np.int32)


def _window_terms(title: str, pieces: Sequence[str]) -> Iterator[list[str]]:
    """The terms of each window; the title belongs to all of them."""
    heading = tokens.bigrams(title)
    # No term crosses the border of a sentence, so a window's terms are those of its sentences.
    of_piece = [tokens.bigrams(piece) for piece in pieces]
    for start, end in windows(pieces):
        yield [*heading, *(term for terms in of_piece[start:end] for term in terms)]


def _spreads(windows: Postings, owners: NDArray[np.int32]) -> NDArray[np.int32]:
    rows = owners[windows.docs]
    first = np.ones(len(rows), np.bool_)
    first[1:] = rows[1:] != rows[:-1]
    first[windows.starts[:-1]] = True
    before = np.concatenate([[0], np.cumsum(first)])
    return np.diff(before[windows.starts]).astype(np.int32)
