"""Flags that need other flags: in which order they are decided, and when there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from apps.core.errors import PrerequisiteCycle

MAX_PREREQUISITES = 8


def prerequisites_first(requires: Mapping[str, Iterable[str]]) -> list[str]:
    """Flag keys in an order in which each comes after the flags it needs.

    Raises:
        PrerequisiteCycle: there is none, or a flag waits for more than 8 in a row.
    """
    depths: dict[str, int] = {}

    def depth(key: str, above: tuple[str, ...]) -> int:
        if key in above:
            circle = " → ".join((*above[above.index(key) :], key))
            raise PrerequisiteCycle(f"Flags require each other in a circle: {circle}.")
        if len(above) > MAX_PREREQUISITES:
            raise PrerequisiteCycle(f"More than {MAX_PREREQUISITES} flags in a row: {above!r}.")
        if key not in depths:
            needed = [depth(name, (*above, key)) for name in requires[key] if name in requires]
            depths[key] = 1 + max(needed, default=-1)
        return depths[key]

    for key in requires:
        if depth(key, ()) > MAX_PREREQUISITES:
            raise PrerequisiteCycle(f"{key!r} waits for more than {MAX_PREREQUISITES} flags.")
    return sorted(requires, key=lambda key: depths[key])
