"""What is wrong with a flag definition, and where."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from apps.core.errors import BadDefinition

Weight = Literal["shape", "rule", "idle", "warning"]

# What is told and not refused: of a flag that somebody writes here, of a whole document that was
# written for flagd, and of what must be taken whatever it says.
WRITTEN: tuple[Weight, ...] = ("warning",)
IMPORTED: tuple[Weight, ...] = ("warning", "idle")
LENIENT: tuple[Weight, ...] = ("warning", "idle", "rule")


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding.

    pointer: where in the document (RFC 6901).
    problem: what is wrong, as a sentence.
    weight: `shape` can never be used; `rule` is refused on a write and evaluates as flagd does
        when it is read leniently; `idle` is a rule that flagd's schema allows and that never
        says anything; a `warning` is only told.
    """

    pointer: str
    problem: str
    weight: Weight = "rule"


def refuse(faults: Iterable[Fault], *, accepted: Collection[Weight]) -> None:
    """Stop at findings that the reader does not accept.

    Raises:
        BadDefinition: with all of them, in the order of the document.
    """
    found = [(each.pointer, each.problem) for each in faults if each.weight not in accepted]
    if found:
        raise BadDefinition(found)


def inside(pointer: str, name: str | int) -> str:
    """The pointer one step further down."""
    return f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
