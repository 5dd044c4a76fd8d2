"""Which passages a query may see: as rows for the legs, and as a last look at each hit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.core.artifacts.rows import Columns
from apps.core.domain.models import Filters, Passage

BoolArray = NDArray[np.bool_]


def doc_key(doc_id: str) -> str:
    """The filter term of a document."""
    return f"d:{doc_id}"


def tag_key(tag: str) -> str:
    """The filter term of a tag."""
    return f"t:{tag}"


def language_key(language: str) -> str:
    """The filter term of a language."""
    return f"l:{language}"


def category_key(path: Sequence[str]) -> str:
    """The filter term of a category path; a passage has one for each prefix of its path."""
    return "c:" + "\x1f".join(path)


def day(date: str | None) -> int:
    """An ISO date as yyyymmdd, 0 when there is none or it is not a date."""
    digits = (date or "").replace("-", "")
    return int(digits) if len(digits) == 8 and digits.isdecimal() and digits.isascii() else 0


def admits(filters: Filters, passage: Passage) -> bool:
    """Whether `passage` may be seen, read from the passage itself."""
    return (
        (not filters.doc_ids or passage.doc_id in filters.doc_ids)
        and (not filters.tags or not set(filters.tags).isdisjoint(passage.tags))
        and (not filters.canonical_in or _in_category(filters, passage.category))
        and filters.language in (None, passage.language)
        and _in_dates(filters, day(passage.source.date))
    )


def _in_category(filters: Filters, category: tuple[str, ...]) -> bool:
    return any(category[: len(prefix)] == prefix for prefix in filters.canonical_in)


def _in_dates(filters: Filters, date: int) -> bool:
    if filters.date_from is None and filters.date_to is None:
        return True
    first, last = date_range(filters)
    return first <= date <= last


def date_range(filters: Filters) -> tuple[int, int]:
    """Inclusive yyyymmdd limits; a passage without a date has 0 and is below the lower one."""
    return max(1, day(filters.date_from)), day(filters.date_to) or 99999999


def key_groups(filters: Filters) -> list[list[str]]:
    """Filter terms: alternatives inside a group, and every group must hold."""
    groups = [
        [doc_key(doc_id) for doc_id in filters.doc_ids],
        [tag_key(tag) for tag in filters.tags],
        [category_key(prefix) for prefix in filters.canonical_in if prefix],
        [language_key(filters.language)] if filters.language else [],
    ]
    if () in filters.canonical_in:
        groups[2] = []  # the empty prefix admits every category
    return [group for group in groups if group]


@dataclass(frozen=True, slots=True)
class RowSets:
    """Rows by filter term, so that a filter becomes a mask without reading passages."""

    rows: int
    by_key: Mapping[str, NDArray[np.int64]]
    days: NDArray[np.int64]

    def mask(self, filters: Filters) -> BoolArray:
        """(rows,) whether a row may be seen."""
        allowed = np.ones(self.rows, np.bool_)
        for group in key_groups(filters):
            allowed &= self._any(group)
        if filters.date_from is not None or filters.date_to is not None:
            first, last = date_range(filters)
            allowed &= (self.days >= first) & (self.days <= last)
        return allowed

    def _any(self, keys: Iterable[str]) -> BoolArray:
        found = np.zeros(self.rows, np.bool_)
        for key in keys:
            if key in self.by_key:
                found[self.by_key[key]] = True
        return found


def row_sets(columns: Columns) -> RowSets:
    """Group the rows of a version; dead rows are in no group."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, chunk_id in enumerate(columns["chunk_id"]):
        if chunk_id is None:
            continue
        groups[doc_key(columns["doc_id"][row])].append(row)
        groups[language_key(columns["language"][row])].append(row)
        for tag in columns["tags"][row]:
            groups[tag_key(tag)].append(row)
        path = columns["category"][row]
        for end in range(1, len(path) + 1):
            groups[category_key(path[:end])].append(row)
    days = np.array([day(date) for date in columns["date"]], dtype=np.int64)
    by_key = {key: np.array(rows) for key, rows in groups.items()}
    return RowSets(len(columns["chunk_id"]), by_key, days)
