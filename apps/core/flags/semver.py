"""Semantic versions as the operator `sem_ver` compares them.

A leading `v` is dropped and missing parts are 0, as flagd does; build metadata does not count.

Source: Semantic Versioning 2.0.0, sections 9 to 11.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import total_ordering

NUMBER = r"(0|[1-9][0-9]*)"
MARK = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
FORM = re.compile(
    rf"[vV]?{NUMBER}(?:\.{NUMBER})?(?:\.{NUMBER})?"
    rf"(?:-({MARK}(?:\.{MARK})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
# Python refuses to read integers of more than 4300 digits; no version has so many.
MAX_CHARS = 256


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version without its build metadata; `marks` are the parts of a pre-release."""

    major: int
    minor: int
    patch: int
    marks: tuple[str, ...] = ()

    def __lt__(self, other: Version) -> bool:
        return self._rank() < other._rank()

    def _rank(self) -> tuple[object, ...]:
        """A release comes after its pre-releases, numbers come before words."""
        marks = [(0, int(m), "") if m.isdigit() else (1, 0, m) for m in self.marks]
        return (self.major, self.minor, self.patch, not self.marks, marks)


def parse(text: str) -> Version | None:
    """The version that a text names, None when it names none."""
    found = FORM.fullmatch(text) if len(text) <= MAX_CHARS else None
    if found is None:
        return None
    major, minor, patch, marks = found.groups()
    return Version(
        int(major), int(minor or 0), int(patch or 0), tuple(marks.split(".")) if marks else ()
    )


def _same_major(left: Version, right: Version) -> bool:
    return left.major == right.major


def _same_minor(left: Version, right: Version) -> bool:
    return (left.major, left.minor) == (right.major, right.minor)


COMPARE: Mapping[str, Callable[[Version, Version], bool]] = {
    "=": Version.__eq__,
    "!=": Version.__ne__,
    "<": Version.__lt__,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "^": _same_major,
    "~": _same_minor,
}
