"""The contract of a node: what it is, what it may ask for, what it may return.

A node is `async def run(state, ctx) -> Update`. It returns only the keys that it changes and
never changes its input. It asks the world only through `RunContext`; it imports no other node,
no storage and no vendor's SDK. It does not catch errors to be polite: the graph decides. An
always-on node (no flag) that fails or overruns fails the run with a typed error; a flagged node
that fails or overruns is skipped, counted, and named in `degraded`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from apps.core.domain.flags import Flag
from apps.core.domain.models import SearchQuery, SearchResult
from apps.core.domain.ports import Clock
from apps.orchestration.models import ModelChain
from apps.orchestration.state import AnswerState, Update

Run = Callable[[AnswerState, "RunContext"], Awaitable[Update]]


@dataclass(frozen=True, slots=True)
class RunContext:
    """The world as a node sees it (LangGraph's context schema).

    search: finds passages.
    models: the configured chat models in fallback order; empty when there is none.
    emit: hands one event to the caller's stream; does nothing for a plain answer.
    streaming: whether text that was emitted cannot be taken back.
    may_emit_text: False while a later node may still replace the draft.
    deadline: when the request's time ends, in `clock.monotonic()` seconds.
    """

    search: Callable[[SearchQuery], Awaitable[SearchResult]]
    models: ModelChain
    clock: Clock
    rng: random.Random
    deadline: float
    emit: Callable[[str, object], None]
    streaming: bool = False
    may_emit_text: bool = True

    def time_left_s(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the walk; `flag` None means always on."""

    name: str
    run: Run
    flag: Flag | None = None
    timeout_s: float = 10.0
    attempts: int = 1
