"""The contract of a node: what it is, what it may ask for, what it may return.

A node is `async def run(state, ctx) -> Update`. It returns only the keys that it changes and
never changes its input. It asks the world only through `RunContext`; it imports no other node,
no storage and no vendor's SDK. It does not catch errors to be polite: the graph decides. An
always-on node (no flag) that fails or overruns fails the run with a typed error; a flagged node
that fails or overruns is skipped, counted, and named in `degraded`.

A flagged node may say when it `applies`. At its place that is asked in both arms of a rollout, on
and off, so that they are compared over the same requests; where it does not, nothing runs.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from apps.core.domain.flags import Flag
from apps.core.domain.models import AnswerRecord, SearchQuery, SearchResult
from apps.core.domain.ports import Clock
from apps.core.setting_values import Fault
from apps.orchestration.events import FromNode
from apps.orchestration.models import ModelChain
from apps.orchestration.state import AnswerState, Update

Run = Callable[[AnswerState, "RunContext"], Awaitable[Update]]
Applies = Callable[[AnswerState], bool]


def always(_state: AnswerState) -> bool:
    """The trigger of a node that has none."""
    return True


def nothing_killed(_flag_key: str) -> bool:
    """The kill switch of a process that has none."""
    return False


def unnoted(_flag_key: str, _node: str) -> None:
    """What becomes of an exposure where nobody counts."""


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
    exposed: tells that a flag has its say at a node, by the names of both; a flagged node's gate
        does it for the node.
    killed: whether a flag is killed now, whatever was decided when the request came.
    faults: by node, what its gate does to it; development only.
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
    exposed: Callable[[str, str], None] = unnoted
    killed: Callable[[str], bool] = nothing_killed
    faults: Mapping[str, Fault] = field(default_factory=dict)

    def time_left_s(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the walk.

    flag: None means always on.
    attempts: how often a retryable failure is tried at all.
    replaces_draft: whether it may replace the draft, so that `compose` must not emit text.
    applies: whether a flagged node has anything to do; asked at its place, pure and cheap.
    """

    name: str
    run: Run
    flag: Flag | None = None
    timeout_s: float = 10.0
    attempts: int = 1
    replaces_draft: bool = False
    applies: Applies = always
