"""Which documents hold which term how often: one inverted file of counts, as flat arrays.

A term is known by a hash of eight bytes, so that a dictionary of any size is one sorted column,
searched where it lies on the disk. Counts are kept beside what they are worth, because
that depends on the mean length of all documents, which every publication moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

K1 = 1.2
B = 0.75
# A term adds at most its weight times this.
CEILING = K1 + 1
# An impact is a whole number of steps from nought to the ceiling.
STEPS = 65_535
MOST = 255  # a term that stands in one document more often than this is counted no further
Column = TypeVar("Column", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Postings:
    """Documents by term.

    terms: (terms,) hashes, rising.
    starts: (terms + 1,) where the postings of each term begin.
    docs: (postings,) document numbers, rising within a term.
    counts: (postings,) how often the term stands in the document, up to `MOST`.
    lengths: (documents,) terms in each document; 0 for one that has been removed.
    """

    terms: NDArray[np.uint64]
    starts: NDArray[np.int64]
    docs: NDArray[np.int32]
    counts: NDArray[np.uint8]
    lengths: NDArray[np.int32]


NOTHING = Postings(
    np.zeros(0, np.uint64),
    np.zeros(1, np.int64),
    np.zeros(0, np.int32),
    np.zeros(0, np.uint8),
    np.zeros(0, np.int32),
)


def hashed(word: str) -> int:
    """BLAKE2b of eight bytes; two of ten million words share one with a chance of 3e-6."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def counted(documents: Sequence[Sequence[str]]) -> Postings:
    """Count the terms of each document."""
    stride = max(1, len(documents))
    numbers: dict[str, int] = {}
    for word in chain.from_iterable(documents):
        numbers.setdefault(word, len(numbers))
    lengths = np.fromiter(map(len, documents), np.int32, len(documents))
    hashes = np.fromiter(map(hashed, numbers), np.uint64, len(numbers))
    order = np.argsort(hashes)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    numbered = map(numbers.__getitem__, chain.from_iterable(documents))
    terms = places[np.fromiter(numbered, np.int64, int(lengths.sum()))]
    docs = np.repeat(np.arange(len(documents)), lengths)
    pairs, counts = np.unique(terms * stride + docs, return_counts=True)
    of_term = np.bincount(pairs // stride, minlength=len(order))
    return Postings(
        hashes[order],
        np.concatenate([[0], np.cumsum(of_term)]).astype(np.int64),
        (pairs % stride).astype(np.int32),
        np.minimum(counts, MOST).astype(np.uint8),
        lengths,
    )


def without(old: Postings, gone: NDArray[np.bool_]) -> Postings:
    """The same postings but those of the documents `gone`, (documents,); numbers stay."""
    if not gone.any():
        return old
    kept = ~gone[old.docs]
    before = np.concatenate([[0], np.cumsum(kept)])
    starts = before[old.starts]
    lengths = np.where(gone, 0, old.lengths).astype(np.int32)
    alive = np.diff(starts) > 0
    starts = np.concatenate([starts[:-1][alive], starts[-1:]])
    return Postings(old.terms[alive], starts, old.docs[kept], old.counts[kept], lengths)


def joined(first: Postings, second: Postings) -> Postings:
    """Both; the documents of `second` are numbered after those of `first`."""
    terms = np.union1d(first.terms, second.terms)
    parts = (first, second)
    places = [np.searchsorted(terms, part.terms) for part in parts]
    sizes = [np.zeros(len(terms), np.int64) for _ in parts]
    for part, at, size in zip(parts, places, sizes, strict=True):
        size[at] = np.diff(part.starts)
    starts = np.concatenate([[0], np.cumsum(sizes[0] + sizes[1])]).astype(np.int64)
    docs = np.empty(starts[-1], np.int32)
    counts = np.empty(starts[-1], np.uint8)
    begins = (starts[:-1], starts[:-1] + sizes[0])
    shifts = (0, len(first.lengths))
    for part, at, begin, shift in zip(parts, places, begins, shifts, strict=True):
        target = np.repeat(begin[at] - part.starts[:-1], np.diff(part.starts))
        target += np.arange(len(part.docs))
        docs[target] = part.docs + shift
        counts[target] = part.counts
    return Postings(terms, starts, docs, counts, np.concatenate([first.lengths, second.lengths]))


def impacts(postings: Postings) -> NDArray[np.uint16]:
    """(postings,) what each count is worth, 0..`CEILING` in `STEPS`: more in a short document.

    Never 0, by which the loops tell documents that have no score yet.

    Source: Robertson, Zaragoza 2009, "The probabilistic relevance framework: BM25 and beyond",
    Foundations and Trends in Information Retrieval 3(4).
    """
    alive = postings.lengths[postings.lengths > 0]
    mean = np.float32(alive.mean() if len(alive) else 1)
    norms = (K1 * (1 - B + B * postings.lengths / mean)).astype(np.float32)
    counts = postings.counts.astype(np.float32)
    steps = np.rint(STEPS * counts / (counts + norms[postings.docs]))
    return np.maximum(steps, 1).astype(np.uint16)


def write(directory: Path, name: str, postings: Postings) -> None:
    """Write `name`-terms.npy and so on."""
    for field in fields(postings):
        save(directory, f"{name}-{field.name}", getattr(postings, field.name))


def read(directory: Path, name: str) -> Postings:
    """Open what `write` wrote; the columns stay on the disk until they are used."""
    return Postings(*(load(directory, f"{name}-{field.name}") for field in fields(Postings)))


def save(directory: Path, name: str, column: NDArray[Column]) -> None:
    """Write one column."""
    np.save(directory / f"{name}.npy", column, allow_pickle=False)


def load(directory: Path, name: str) -> NDArray[Column]:
    """Map one column, read-only."""
    path = directory / f"{name}.npy"
    # A plain view: compiled code and numpy take the subclass as something else.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
