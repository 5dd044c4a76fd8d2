"""What our gates add to LangGraph: k nodes that do nothing, ours against a bare graph.

Two bare graphs are compared in one run: one with our state's keys, and one with a state of two
keys, the least that a graph can have. `recorded` is our walk with a span for every node, which are
thrown away behind it, against our walk in a process that records none. `off` is our walk with one
more node whose flag is off, and `control` the same in the control of a rollout, both against our
walk without it.

Usage: python -m bench.graph [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from langgraph.graph import END, START, StateGraph
from opentelemetry.sdk.trace import SpanProcessor

from apps.core.domain.flags import Flag, FlagDecision
from apps.core.domain.models import AnswerRequest, SearchQuery, SearchResult
from apps.core.flags.evaluation import Evaluation
from apps.core.settings import Settings
from apps.core.telemetry.export import exporting
from apps.core.telemetry.traces import Traces
from apps.core.wiring import SystemClock
from apps.orchestration.graph import walk
from apps.orchestration.models import ModelChain
from apps.orchestration.node import Node, RunContext
from apps.orchestration.records import Begun, initial
from apps.orchestration.state import AnswerState, Update
from bench.two_keys import TwoKeys

SIZES = (4, 7, 11)
WARM_UP, ROUNDS = 50, 400
Once = Callable[[], Awaitable[object]]


def bare(size: int, schema: type[Any]) -> Any:
    """Compile a chain of `size` nodes that only note their name."""
    graph: Any = StateGraph(schema)  # its overloads do not take a schema chosen at run time
    last = START
    for place in range(size):
        name = f"n{place}"
        graph.add_node(name, _noting(name))
        graph.add_edge(last, name)
        last = name
    graph.add_edge(last, END)
    return graph.compile()


def _noting(name: str) -> Callable[[Any], Awaitable[dict[str, list[str]]]]:
    async def note(_state: Any) -> dict[str, list[str]]:
        return {"nodes": [name]}

    return note


async def nothing(_state: AnswerState, _ctx: RunContext) -> Update:
    """Do nothing, as a node."""
    return {}


async def _no_search(_query: SearchQuery) -> SearchResult:
    raise NotImplementedError


async def _no_memory() -> None:
    return None


class Dropped(SpanProcessor):
    """Takes spans and does nothing with them."""


def contestants(size: int, process: Traces) -> dict[str, Once]:
    """One run of each graph of `size` nodes."""
    clock = SystemClock()
    models = ModelChain([], clock)
    nodes = tuple(Node(f"n{place}", nothing) for place in range(size))
    flagged = (*nodes[:-1], Node("x", nothing, flag=Flag("x", "Nothing.")), nodes[-1])
    controlled = Evaluation(0, {"x": FlagDecision(False, "SPLIT", "ROLLOUT", arm="control")})
    begun = Begun(AnswerRequest("x"), "a", Evaluation(0, {}), 0.0, 0.0, streaming=False)
    ours, small = bare(size, AnswerState), bare(size, TwoKeys)

    async def gated(nodes: tuple[Node, ...] = nodes, begun: Begun = begun) -> object:
        ctx = RunContext(
            search=_no_search,
            models=models,
            clock=clock,
            rng=random.Random(),
            deadline=clock.monotonic() + 30,
            emit=lambda _event: None,
            recall=_no_memory,
        )
        return await walk(frozenset(), nodes, initial(begun, "v"), ctx)

    async def recorded() -> object:
        with process.begin("http.request"):
            return await gated()

    return {
        "gated": gated,
        "recorded": recorded,
        "off": lambda: gated(flagged),
        "control": lambda: gated(flagged, replace(begun, evaluation=controlled)),
        "same_state": lambda: ours.ainvoke(initial(begun, "v")),
        "two_keys": lambda: small.ainvoke({"question": "x", "nodes": []}),
    }


async def measure(size: int) -> dict[str, float]:
    """Return the lower quartile of CPU milliseconds of interleaved runs."""
    with exporting(Settings(), through=Dropped()) as process:
        runs = contestants(size, process)
        spent: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(WARM_UP + ROUNDS):
            for name, once in runs.items():
                began = time.process_time()
                await once()
                if turn >= WARM_UP:
                    spent[name].append(1e3 * (time.process_time() - began))
    return {name: sorted(values)[len(values) // 4] for name, values in spent.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for size in SIZES:
        found = asyncio.run(measure(size))
        rows.append(
            {
                "nodes": size,
                "ms": found["gated"],
                "vs_same_state": found["gated"] / found["same_state"],
                "vs_two_keys": found["gated"] / found["two_keys"],
                "recorded": found["recorded"] / found["gated"],
                "off": found["off"] / found["gated"],
                "control": found["control"] / found["gated"],
            }
        )
    if options.json:
        print(json.dumps(rows))
        return
    print("nodes     ms  vs_same_state  vs_two_keys  recorded   off  control")
    line = (
        "{nodes:5} {ms:6.2f} {vs_same_state:14.2f} {vs_two_keys:12.2f} {recorded:9.2f} "
        "{off:5.2f} {control:8.2f}"
    )
    for row in rows:
        print(line.format(**row))


if __name__ == "__main__":
    main()
