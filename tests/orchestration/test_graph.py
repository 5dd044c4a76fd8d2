"""The gate around a node, and what a flag does to the graph."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from apps.core.domain.flags import Flag
from apps.core.errors import DeadlineExceeded, ProviderBusy, SystemFailure
from apps.core.telemetry import metrics
from apps.orchestration.events import Progress
from apps.orchestration.graph import compiled
from apps.orchestration.node import Node, RunContext
from apps.orchestration.nodes import PIPELINE
from apps.orchestration.state import AnswerState, Update
from tests.fakes.answering import FixedFlags, Stage, scripted

QUESTION = "서울의 인구는 몇 명인가?"
FLAG = Flag("dummy", "Does next to nothing.")


def dummy(
    run: Callable[[AnswerState, RunContext], Any], *, flag: Flag | None = FLAG, **more: Any
) -> tuple[Node, ...]:
    """The walk with one more node before the last."""
    return (*PIPELINE[:-1], Node("dummy", run, flag=flag, **more), PIPELINE[-1])


async def writes(state: AnswerState, ctx: RunContext) -> Update:
    return {"trace": {"plan": "seen"}}


async def fails(state: AnswerState, ctx: RunContext) -> Update:
    raise ZeroDivisionError("a mistake of ours")


async def hangs(state: AnswerState, ctx: RunContext) -> Update:
    await asyncio.Event().wait()
    return {}


def counted(name: str) -> float:
    """How many runs of a node were timed."""
    samples = metrics.node_ms.of(name).collect()[0].samples
    return next(s.value for s in samples if s.name.endswith("_count"))


async def test_a_node_whose_flag_is_on_runs() -> None:
    """It is in the graph, in `nodes`, in the timings, in the metric and in the progress."""
    before = counted("dummy")
    stage = Stage(nodes=dummy(writes), flags=FixedFlags("dummy"))
    told = await stage.told(QUESTION)
    record = told[-1].record
    assert record.nodes == ("understand", "retrieve", "compose", "dummy", "cite")
    assert record.trace == {"plan": "seen"}
    assert "dummy" in record.timings_ms
    assert [e.step for e in told if isinstance(e, Progress) and e.node == "dummy"] == [
        "started",
        "ended",
    ]
    assert counted("dummy") == before + 1


async def test_a_node_whose_flag_is_off_is_not_there() -> None:
    """The answer is the same to the byte, even if the node would fail."""
    plain = await Stage().told(QUESTION)
    flagged = await Stage(nodes=dummy(fails)).told(QUESTION)
    assert flagged == plain
    names = compiled(frozenset(), dummy(fails)).get_graph().nodes
    assert "dummy" not in names


async def test_the_graph_of_a_set_of_flags_is_compiled_once() -> None:
    """The second request finds the graph of the first."""
    nodes = dummy(writes)
    assert compiled(frozenset({"dummy"}), nodes) is compiled(frozenset({"dummy"}), nodes)


@pytest.mark.parametrize("run", [fails, hangs])
async def test_a_flagged_node_that_fails_leaves_the_baseline(run: Any) -> None:
    """It is skipped, counted and named, and the answer is what it would have been."""
    baseline = await Stage().answer(QUESTION)
    reason = "ZeroDivisionError" if run is fails else "TimeoutError"
    before = metrics.node_failures.of("dummy", reason)._value.get()
    stage = Stage(nodes=dummy(run, timeout_s=0.01), flags=FixedFlags("dummy"))
    record = await stage.answer(QUESTION)
    assert record.degraded == ("dummy",)
    assert record.nodes == baseline.nodes
    assert (record.answer, record.citations) == (baseline.answer, baseline.citations)
    assert metrics.node_failures.of("dummy", reason)._value.get() == before + 1


async def test_a_node_that_writes_an_unknown_key_is_skipped() -> None:
    """A slip in an optional node does not fail the run."""

    async def run(state: AnswerState, ctx: RunContext) -> Any:
        return {"no_such_key": 1}

    stage = Stage(nodes=dummy(run), flags=FixedFlags("dummy"))
    assert (await stage.answer(QUESTION)).degraded == ("dummy",)


async def test_an_always_on_node_that_fails_fails_the_run_with_a_type() -> None:
    """Our own error passes as it is; any other becomes a system failure that names the node."""

    async def busy(state: AnswerState, ctx: RunContext) -> Update:
        raise ProviderBusy("later", retry_after_s=3)

    assert isinstance(await Stage(nodes=dummy(busy, flag=None)).failure(QUESTION), ProviderBusy)
    ours = await Stage(nodes=dummy(fails, flag=None)).failure(QUESTION)
    assert type(ours) is SystemFailure
    assert ours.detail == "dummy failed."


async def test_an_always_on_node_that_overruns_exceeds_the_deadline() -> None:
    """The caller learns that time was the reason."""
    stage = Stage(nodes=dummy(hangs, flag=None, timeout_s=0.01))
    assert isinstance(await stage.failure(QUESTION), DeadlineExceeded)


async def test_no_node_outlives_the_request() -> None:
    """A node's limit is never longer than what is left of the request's time."""
    stage = Stage(nodes=dummy(hangs, flag=None, timeout_s=60), REQUEST_TIMEOUT_S="0.02")
    assert isinstance(await stage.failure(QUESTION), DeadlineExceeded)


async def test_a_retryable_failure_is_tried_again() -> None:
    """As often as the node allows, and only when trying again can help."""
    tries: list[str] = []

    async def second_time(state: AnswerState, ctx: RunContext) -> Update:
        tries.append("x")
        if len(tries) == 1:
            raise ProviderBusy("not now")
        return {}

    async def never(state: AnswerState, ctx: RunContext) -> Update:
        tries.append("y")
        raise SystemFailure("no use")

    record = await Stage(nodes=dummy(second_time, attempts=2), flags=FixedFlags("dummy")).answer(
        QUESTION
    )
    assert "dummy" in record.nodes
    await Stage(nodes=dummy(never, attempts=2), flags=FixedFlags("dummy")).answer(QUESTION)
    assert tries == ["x", "x", "y"]


async def test_a_node_that_may_replace_the_draft_holds_the_text_back() -> None:
    """With such a node on, no text goes out before the end; with it off, text goes out at once."""
    lines = "서울의 인구는 940만 명이다 [1]. 서울은 대한민국의 수도이다 [1]."
    nodes = dummy(writes, replaces_draft=True)
    held = await Stage(scripted(lines), nodes=nodes, flags=FixedFlags("dummy")).told(QUESTION)
    free = await Stage(scripted(lines), nodes=nodes).told(QUESTION)
    assert sum(type(e).__name__ == "Data" for e in held) == 1
    assert sum(type(e).__name__ == "Data" for e in free) > 1
