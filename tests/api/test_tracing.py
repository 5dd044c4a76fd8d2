"""The trace of a request, over HTTP: one tree, plain facts, and the id in the log."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from apps.api.caches import SharedSearch
from apps.api.main import create_app
from apps.api.middleware import Shell
from apps.api.records import Records
from apps.core import wiring
from apps.core.domain.flags import Flag
from apps.core.errors import SystemFailure
from apps.core.flags.snapshot import FlagWorld, Snapshot
from apps.core.settings import Settings, SettingsError
from apps.orchestration.node import Node, RunContext
from apps.orchestration.nodes import PIPELINE
from apps.orchestration.state import AnswerState, Update
from tests.api.conftest import serving
from tests.fakes.answering import FakeIndex, Stage, scripted
from tests.fakes.collector import KeptSpans
from tests.fakes.flags import FakeFlagStore
from tests.fakes.services import World

LINE = "서울의 인구는 940만 명이다 [1]."
TREE = {
    "http.request": None,
    "node.understand": "http.request",
    "node.retrieve": "http.request",
    "search": "node.retrieve",
    "node.compose": "http.request",
    "model.call": "node.compose",
    "node.cite": "http.request",
}
BODY = {"question": "서울의 인구는 몇 명인가?", "user_id": "hong@example.com", "session_id": "s-1"}


def answering(world: World, *models: Any, **more: Any) -> World:
    """A world whose answers come from a real walk and a real search over fake passages."""
    # The wrapper asks no more of what it wraps than the fake can do.
    index: Any = SharedSearch(FakeIndex(), lambda: 0)  # type: ignore[arg-type]
    world.answerer = Stage(*models, index=index, **more).pipeline  # type: ignore[assignment]
    return world


async def asked(kept: KeptSpans, world: World, **body: object) -> str:
    """Ask once; returns what came back."""
    app = create_app(Settings(), opening=world.opening, tracing_to=kept)
    async with serving(app) as client:
        return (await client.post("/answer?x=hong", json={**BODY, **body})).text


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_one_tree(world: World, stream: bool) -> None:
    """Plain or streamed: nodes below the request, search and model call below their nodes."""
    kept = KeptSpans()
    await asked(kept, answering(world, scripted(LINE)), stream=stream)
    assert kept.tree() == TREE
    assert len({span.context.trace_id for span in kept.spans if span.context}) == 1


async def test_spans_tell_facts(world: World) -> None:
    """Counts, names and fingerprints; the user only by pseudonym."""
    kept = KeptSpans()
    await asked(kept, answering(world, scripted(LINE)))
    root = kept.facts("http.request")
    assert (root["http.request.method"], root["http.route"]) == ("POST", "/answer")
    assert root["http.response.status_code"] == 200
    assert kept.named("http.request").kind is SpanKind.SERVER
    call = kept.facts("model.call")
    assert call["gen_ai.request.model"] == "fake:one"
    assert (call["gen_ai.usage.input_tokens"], call["gen_ai.usage.output_tokens"]) == (50, 10)
    assert call["dtrag.outcome"] == "ok"
    assert call["dtrag.prompt_version"]
    assert kept.facts("search")["dtrag.search.hits"] == 2
    everything = "".join(span.to_json() for span in kept.spans)
    for word in ("hong", "s-1", "서울", "940만"):
        assert word not in everything
    assert root["dtrag.user_id_pseudonym"] != root["dtrag.session_id_pseudonym"]


async def test_a_model_that_fails_and_one_that_serves_are_two_calls(world: World) -> None:
    """Each try has its span; the one that failed says why."""
    kept = KeptSpans()
    failing = scripted(ValueError("nothing to see"), name="fake:bad")
    await asked(kept, answering(world, failing, scripted(LINE, name="fake:good")))
    calls = [span for span in kept.spans if span.name == "model.call"]
    outcomes = [(span.attributes or {})["dtrag.outcome"] for span in calls]
    assert outcomes == ["provider_failure", "ok"]
    assert [s.status.status_code for s in calls] == [StatusCode.ERROR, StatusCode.UNSET]


async def test_a_node_that_fails_marks_its_span(world: World) -> None:
    """The flag's decision stands in the request's span, and never who it was made for."""

    async def fails(state: AnswerState, ctx: RunContext) -> Update:
        raise ZeroDivisionError("서울")

    flag = Flag("dummy", "Fails.")
    nodes: Sequence[Node] = (*PIPELINE, Node("dummy", fails, flag=flag))
    world.flags = FakeFlagStore(
        snapshot=Snapshot(FlagWorld(flags=(flag,), environment={"dummy": "true"}))
    )
    kept = KeptSpans()
    await asked(kept, answering(world, nodes=tuple(nodes)))
    assert kept.named("node.dummy").status.status_code is StatusCode.ERROR
    node = kept.facts("node.dummy")
    assert node["error.type"] == "ZeroDivisionError"
    decided = kept.named("http.request").events[0]
    assert decided.name == "feature_flag.evaluation"
    told = {
        "feature_flag.key": "dummy",
        "feature_flag.result.variant": "on",
        "feature_flag.result.reason": "static",
    }
    assert decided.attributes == told
    assert node.items() >= told.items()
    assert kept.facts("http.request")["dtrag.answer.degraded"] == "dummy"


async def test_a_failed_request_marks_its_root(world: World) -> None:
    """A status of 500 or more is an error of ours."""
    world.searcher.error = SystemFailure("no")
    kept = KeptSpans()
    app = create_app(Settings(), opening=world.opening, tracing_to=kept)
    async with serving(app) as client:
        assert (await client.post("/search", json={"q": "x"})).status_code == 500
        assert (await client.request("HONG", "/search/hong")).status_code == 404
    failed, unknown = kept.spans
    assert failed.status.status_code is StatusCode.ERROR
    assert unknown.status.status_code is StatusCode.UNSET
    assert "hong" not in unknown.to_json().lower()


async def test_a_caller_can_continue_its_trace(world: World) -> None:
    """`traceparent` is followed; two of them are none; `tracestate` goes nowhere."""
    kept = KeptSpans()
    app = create_app(Settings(), opening=world.opening, tracing_to=kept)
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    async with serving(app) as client:
        headers = [("traceparent", parent), ("tracestate", "user=hong")]
        await client.get("/healthz", headers=headers)
        await client.get("/healthz", headers=[("traceparent", parent), ("traceparent", parent)])
    contexts = [span.context for span in kept.spans if span.context]
    assert [f"{each.trace_id:032x}" == "ab" * 16 for each in contexts] == [True, False]
    assert not any(each.trace_state for each in contexts)


async def test_the_log_line_names_the_trace(
    world: World, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """With a recorded trace the line has its id; without one it has no such field."""
    out = io.BytesIO()
    # The stream is Records' own argument; `create_app` has no use for it but here.
    monkeypatch.setattr(
        "apps.api.main.Records", lambda given, clock: Records(given, clock, out=out)
    )
    kept = KeptSpans()
    for tracing in (kept, None):
        app = create_app(settings, opening=world.opening, tracing_to=tracing)
        async with serving(app) as client:
            await client.get("/healthz")
    first, second = map(json.loads, out.getvalue().splitlines())
    context = kept.named("http.request").context
    assert context is not None
    assert first["trace_id"] == f"{context.trace_id:032x}"
    assert "trace_id" not in second


async def test_without_a_collector_there_is_no_layer(world: World, settings: Settings) -> None:
    """What is off costs nothing: the layer is not built in."""
    app = create_app(settings, opening=world.opening)
    assert isinstance(app.outermost, Shell)


def test_a_collector_without_its_packages_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One sentence names the variable and what is missing."""

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(wiring.importlib, "import_module", missing)
    settings = Settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT: .*otel"):
        wiring.tracing(settings)
