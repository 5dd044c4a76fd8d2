"""What is wrong with a flag definition, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from apps.core.errors import BadDefinition

Weight = Literal["shape", "rule", "warning"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding.

    pointer: where in the document (RFC 6901).
    problem: what is wrong, as a sentence.
    weight: `shape` can never be used; `rule` is refused on a write and evaluates as flagd does
        when it is read leniently; a `warning` is only told.
    """

    pointer: str
    problem: str
    weight: Weight = "rule"


def refuse(faults: Iterable[Fault], *, lenient: bool) -> None:
    """Stop at findings that the reader does not accept.

    Raises:
        BadDefinition: with all of them, in the order of the document.
    """
    accepted = ("rule", "warning") if lenient else ("warning",)
    found = [(each.pointer, each.problem) for each in faults if each.weight not in accepted]
    if found:
        raise BadDefinition(found)


def inside(pointer: str, name: str | int) -> str:
    """The pointer one step further down."""
    return f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
