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
from apps.core.domain.models import AnswerRecord, SearchQuery, SearchResult
from apps.core.domain.ports import Clock
from apps.orchestration.events import FromNode
from apps.orchestration.models import ModelChain
from apps.orchestration.state import AnswerState, Update

Run = Callable[[AnswerState, "RunContext"], Awaitable[Update]]


@dataclass(frozen=True, slots=True)
class RunContext:
    """The world as a node sees it (LangGraph's context schema).

    search: finds passages.
    models: the configured chat models in fallback order; empty when there is none.
    recall: the last good answer to this question by the same rights, maybe from an older index.
    emit: hands one event to whoever listens to the run.
    deadline: when the request's time ends, in `clock.monotonic()` seconds.
    may_emit_text: False for a plain answer, and while a later node may still replace the draft;
        text that was emitted cannot be taken back.
    max_cost_usd: what the models may cost for this request; None does not limit.
    """

    search: Callable[[SearchQuery], Awaitable[SearchResult]]
    models: ModelChain
    clock: Clock
    rng: random.Random
    deadline: float
    emit: Callable[[FromNode], None]
    recall: Callable[[], Awaitable[AnswerRecord | None]]
    may_emit_text: bool = False
    max_cost_usd: float | None = None

    def time_left_s(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the walk.

    flag: None means always on.
    attempts: how often a retryable failure is tried at all.
    replaces_draft: whether it may replace the draft, so that `compose` must not emit text.
    """

    name: str
    run: Run
    flag: Flag | None = None
    timeout_s: float = 10.0
    attempts: int = 1
    replaces_draft: bool = False
