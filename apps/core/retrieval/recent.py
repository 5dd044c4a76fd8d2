"""What was used last."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The entries used last, up to a number, of which the newer half at least is kept.

    Two generations: what is used moves to the young one, and when that is half of all, the old one
    goes at once. Threads may share it, because each step is one of a dictionary's own; two that
    meet may forget too much, never too little.
    """

    def __init__(self, entries: int) -> None:
        self._half = (entries + 1) // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value of `key`, which now counts as used."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep `value` and forget what was not used for long."""
        if not self._half:
            return
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value
