"""The compiled graph for a set of flags, and the gate around every node of it.

A node whose flag is off is not in the graph: it costs nothing and cannot change the answer.
The gate gives a node its time, tries it again when it is worth it, counts it, and decides what
its failure means.

In the control of a rollout the node is not there either, but the request counts only if it would
have reached it: the gate of the step before its place asks its trigger on the way out.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from itertools import takewhile
from typing import Annotated, Protocol, TypedDict, cast

import structlog
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from apps.core.domain.flags import Decisions
from apps.core.errors import DeadlineExceeded, DtRagError, SystemFailure
from apps.core.flags.evaluation import span_facts
from apps.core.resilience import allowance_s
from apps.core.setting_values import Fault
from apps.core.telemetry import metrics, traces
from apps.orchestration.events import Progress, Step
from apps.orchestration.node import Node, RunContext
from apps.orchestration.state import AnswerState, Update, updated


class Walk(TypedDict):
    """What LangGraph carries: our whole state as one value.

    LangGraph pays for every key of its state at every step, used or not: a bare graph of four nodes
    with our 29 keys takes about 15 % longer than one with two (`python -m bench.graph`).
    """

    state: Annotated[AnswerState, updated]


class Written(TypedDict):
    """What a step writes into a Walk."""

    state: Update


Graph = CompiledStateGraph[Walk, RunContext, Walk, Walk]

KEYS = frozenset(Update.__annotations__)
log = structlog.get_logger(__name__)


async def walk(
    on: frozenset[str], pipeline: tuple[Node, ...], state: AnswerState, ctx: RunContext
) -> AnswerState:
    """Run the graph for the flags in `on`; returns the final state.

    Raises:
        DtRagError: an always-on node failed.
    """
    final: AnswerState = state
    flags = {node.flag.key for node in pipeline if node.flag}
    graph = compiled(on & flags, pipeline, controls=_controls(state["decisions"], flags - on))
    begun: Walk = {"state": state}
    async for found in graph.astream(begun, context=ctx, stream_mode="values", output_keys="state"):
        final = cast("AnswerState", found)
    return final


class Gate(Protocol):
    """A step as LangGraph calls it."""

    async def __call__(self, state: Walk, *, runtime: Runtime[RunContext]) -> Written:
        """Run one node."""


@lru_cache(maxsize=256)
def compiled(
    on: frozenset[str],
    pipeline: tuple[Node, ...],
    *,
    controls: frozenset[str] = frozenset(),
) -> Graph:
    """Build the graph of the always-on nodes and those whose flag is in `on`; 1.3 ms, cached.

    Args:
        on: keys of flags.
        pipeline: every node in its place.
        controls: flags that are off in an arm, whose triggers are asked at their nodes' places.
    """
    graph = StateGraph(Walk, context_schema=RunContext)
    last = START
    for place, node in enumerate(pipeline):
        if node.flag is None or node.flag.key in on:
            graph.add_node(node.name, gated(node, _absent(pipeline[place + 1 :], on, controls)))
            graph.add_edge(last, node.name)
            last = node.name
    graph.add_edge(last, END)
    return graph.compile()


def _controls(decisions: Decisions, off: set[str]) -> frozenset[str]:
    return frozenset(key for key in off if key in decisions and decisions[key].arm is not None)


def _absent(
    later: tuple[Node, ...], on: frozenset[str], controls: frozenset[str]
) -> tuple[Node, ...]:
    """The nodes of controls that would stand between a step and the next."""
    between = takewhile(lambda node: node.flag is not None and node.flag.key not in on, later)
    return tuple(node for node in between if node.flag and node.flag.key in controls)


def gated(node: Node, absent: tuple[Node, ...] = ()) -> Gate:
    """Wrap a node as a step of the graph; `absent` are the controls behind it."""
    span_name = f"node.{node.name}"

    async def step(state: Walk, *, runtime: Runtime[RunContext]) -> Written:
        ctx = runtime.context
        refused = _refused(node, state["state"], ctx)
        if refused is not None:
            return {"state": refused}
        started_s = ctx.clock.monotonic()
        ctx.emit(Progress(node.name, "started"))
        with traces.begin(span_name) as span:
            if node.flag is not None and span.recorded:
                span.note(span_facts(node.flag.key, state["state"]["decisions"][node.flag.key]))
            try:
                update = _checked(node, await _attempted(node, state["state"], ctx))
            # The gate is where a node's failure, whatever it is, gets its meaning.
            except Exception as error:
                span.fail(traces.reason_of(error))
                _tell(node, ctx, started_s=started_s, step="skipped")
                return {"state": _excused(node, error)}
        _tell(node, ctx, started_s=started_s, step="ended")
        return {"state": {**update, "nodes": [node.name]}}

    return _watching(step, absent) if absent else step


def _refused(node: Node, state: AnswerState, ctx: RunContext) -> Update | None:
    """What a flagged node leaves behind when it must not run, or has nothing to do."""
    if node.flag is None:
        return None
    if ctx.killed(node.flag.key):
        # Also when it was killed after the request came; the answer is the baseline's.
        ctx.emit(Progress(node.name, "skipped"))
        metrics.node_failures.of(node.name, "killed").inc()
        return {"degraded": [node.name]}
    return None if _met(node, state, ctx) else {}


def _watching(step: Gate, absent: tuple[Node, ...]) -> Gate:
    """The same step, which then asks the triggers of the nodes that are not behind it."""

    async def watched(state: Walk, *, runtime: Runtime[RunContext]) -> Written:
        written = await step(state, runtime=runtime)
        after = updated(state["state"], written["state"])
        for node in absent:
            if node.flag is not None and not runtime.context.killed(node.flag.key):
                _met(node, after, runtime.context)
        return written

    return watched


def _met(node: Node, state: AnswerState, ctx: RunContext) -> bool:
    """Whether a node has something to do here; if so, the request has met its flag."""
    try:
        applies = node.applies(state)
    # A trigger of ours must not cost an answer, least of all in the control.
    except Exception as error:
        metrics.node_failures.of(node.name, traces.reason_of(error)).inc()
        log.error("node.trigger_failed", node=node.name, exc_info=error)
        return False
    if applies and node.flag is not None:
        ctx.exposed(node.flag.key, node.name)
    return applies


async def _attempted(node: Node, state: AnswerState, ctx: RunContext) -> Update:
    for attempt in range(1, node.attempts + 1):
        try:
            async with asyncio.timeout(allowance_s(node.timeout_s, ctx.time_left_s())):
                if node.name in ctx.faults:
                    await _suffer(ctx.faults[node.name], ctx)
                return await node.run(state, ctx)
        except DtRagError as error:
            if attempt == node.attempts or not error.retryable:
                raise
    raise SystemFailure(f"{node.name} has no attempts.")


async def _suffer(fault: Fault, ctx: RunContext) -> None:
    """Break or delay a node on purpose, for demonstrations in development."""
    if fault.kind == "slow":
        await asyncio.sleep(fault.amount)
    elif ctx.rng.random() < fault.amount:
        raise SystemFailure("A fault was asked for with DTRAG_FAULTS.")


def _checked(node: Node, update: Update) -> Update:
    unknown = update.keys() - KEYS
    if unknown:
        raise SystemFailure(f"{node.name} wrote {sorted(unknown)!r}, which no state has.")
    return update


def _tell(node: Node, ctx: RunContext, *, started_s: float, step: Step) -> None:
    # A duration travels as an event, not in the state: a written key costs 30 us a node.
    elapsed_ms = (ctx.clock.monotonic() - started_s) * 1e3
    metrics.node_ms.of(node.name).observe(elapsed_ms)
    ctx.emit(Progress(node.name, step, elapsed_ms))


def _excused(node: Node, error: Exception) -> Update:
    """Go on without a flagged node; fail the run with a typed error for one that is always on."""
    reason = traces.reason_of(error)
    metrics.node_failures.of(node.name, reason).inc()
    if node.flag is not None:
        log.warning("node.skipped", node=node.name, reason=reason, exc_info=error)
        return {"degraded": [node.name]}
    if isinstance(error, DtRagError):
        raise error
    if isinstance(error, TimeoutError):
        raise DeadlineExceeded(f"{node.name} ran out of time.") from error
    log.error("node.failed", node=node.name, reason=reason, exc_info=error)
    raise SystemFailure(f"{node.name} failed.") from error
