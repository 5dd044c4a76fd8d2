"""Which loops a search runs: plain ones at once, compiled ones as soon as they are loaded.

A compiler takes half a second to wake up, ten when it has to compile anew, and no first question
waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from apps.core.retrieval import plain

log = structlog.get_logger(__name__)
Loop = Callable[..., Any]


class Loops:
    """The loops of one process.

    best_rows, convex: the plain ones, later the compiled ones, which give the same.
    first_look, nearest: compiled; None until they are there, when every vector is scored instead.
    """

    def __init__(self) -> None:
        self.best_rows: Loop = plain.best_rows
        self.convex: Loop = plain.convex
        self.first_look: Loop | None = None
        self.nearest: Loop | None = None

    def load(self) -> None:
        """Change to the compiled loops; without a compiler for this machine the plain ones stay."""
        try:
            from apps.core.retrieval import waking  # noqa: PLC0415 - imports the compiler

            waking.load()
        except Exception as error:  # whatever a compiler finds wrong with a machine
            log.warning("search.not_compiled", error=str(error))
            return
        self.best_rows, self.first_look, self.nearest, self.convex = waking.LOOPS
