"""JSON of flag documents: read with every oddity named, written always the same way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import cast

from apps.core.errors import BadDefinition
from apps.core.flags.faults import inside

# An expression takes two levels, an object and its list.
MAX_NESTING = 200
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1


def read(source: bytes | str | Mapping[str, object]) -> Mapping[str, object]:
    """An object whose texts are Unicode, whose numbers are finite, and whose depth is bounded.

    Args:
        source: JSON text, or what a JSON reader made of it.

    Raises:
        BadDefinition: it is not such an object.
    """
    document = _parsed(source) if isinstance(source, bytes | str) else source
    if not isinstance(document, dict):
        raise BadDefinition([("", "must be a JSON object")])
    faults = _oddities(document)
    if faults:
        raise BadDefinition(faults)
    return cast("Mapping[str, object]", document)


def write(document: Mapping[str, object]) -> bytes:
    """UTF-8 with sorted keys, two spaces and one line end; equal documents give equal bytes."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    return text.encode() + b"\n"


def _parsed(source: bytes | str) -> object:
    try:
        return json.loads(source, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadDefinition([("", f"not JSON: {reason}")]) from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice!r} is given twice")
    return found


def _oddities(document: object) -> list[tuple[str, str]]:
    """Walk without recursion, since the depth is not known to be bounded."""
    faults: list[tuple[str, str]] = []
    waiting: list[tuple[str, object, int]] = [("", document, 0)]
    while waiting:
        at, value, depth = waiting.pop()
        problem = _oddity(value, depth)
        if problem:
            faults.append((at, problem))
        elif isinstance(value, dict):
            waiting += [(inside(at, name), item, depth + 1) for name, item in value.items()]
        elif isinstance(value, list):
            waiting += [(inside(at, place), item, depth + 1) for place, item in enumerate(value)]
    return faults[::-1]


def _oddity(value: object, depth: int) -> str | None:
    if depth > MAX_NESTING:
        return "nested too deeply"
    if isinstance(value, float) and not math.isfinite(value):
        return "not a finite number"
    if isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
        return "an integer of more than 64 bits"
    if isinstance(value, dict):
        wrong = any(not isinstance(name, str) or not _is_unicode(name) for name in value)
        return "a member's name is not Unicode text" if wrong else None
    if isinstance(value, str):
        return None if _is_unicode(value) else "not Unicode text"
    return None if value is None or isinstance(value, int | float | list) else "not a JSON value"


def _is_unicode(text: str) -> bool:
    """False for half a surrogate pair, which JSON can write and UTF-8 cannot."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
