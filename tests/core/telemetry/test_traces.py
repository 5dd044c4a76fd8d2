"""Spans: which are recorded, how they hang together, and what may not stand in them."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator

import pytest
from opentelemetry.trace import StatusCode

from apps.core.errors import ProviderBusy
from apps.core.settings import Settings
from apps.core.telemetry import export, traces
from apps.core.telemetry.export import exporting
from apps.core.telemetry.traces import Traces
from tests.fakes.collector import KeptSpans, collecting

PLANTED = "900101-1234567"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"


@pytest.fixture
def kept() -> KeptSpans:
    return KeptSpans()


@pytest.fixture
def process(kept: KeptSpans) -> Iterator[Traces]:
    """A process that records every trace."""
    with kept() as opened:
        yield opened


def test_without_a_trace_a_span_is_nothing(kept: KeptSpans) -> None:
    """The same object every time, which takes everything and keeps nothing."""
    with traces.begin("search") as span:
        span.note({"a": 1})
        span.event("b", {})
        span.fail("c")
        assert span is traces.NOTHING
        assert not span.recorded
        assert span.pseudonym("someone") == ""
        assert traces.trace_id() is None
    assert traces.current() is traces.NOTHING


def test_spans_form_a_tree(kept: KeptSpans, process: Traces) -> None:
    """A span is below the one that was open when it began."""
    with process.begin("root"):
        with traces.begin("first"), traces.begin("inner"):
            pass
        with traces.begin("second"):
            pass
    assert kept.tree() == {"inner": "first", "first": "root", "second": "root", "root": None}


async def test_a_task_and_a_thread_keep_their_parent(kept: KeptSpans, process: Traces) -> None:
    """What a request starts belongs to the request, wherever it runs."""

    def work(name: str) -> None:
        with traces.begin(name):
            pass

    async def task() -> None:
        work("task")

    with process.begin("root"):
        started = asyncio.create_task(task())
        await asyncio.to_thread(work, "thread")
    await started
    assert kept.tree() == {"task": "root", "thread": "root", "root": None}


def test_a_trace_that_is_not_recorded_records_nothing_below(kept: KeptSpans) -> None:
    """The share is asked once, at the root; also within a process whose work is traced."""
    settings = Settings(OTEL_TRACES_SAMPLER_ARG=0.0)
    none = KeptSpans(settings)
    with none() as process, process.here():
        with traces.begin("ingest.document") as root:
            assert not root.recorded
            assert traces.begin("below") is traces.NOTHING
        with process.begin("http.request"), traces.begin("search"):
            pass
    assert none.spans == ()


class Draws(random.Random):
    """Draws the given numbers."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self._numbers = list(numbers)

    def random(self) -> float:
        return self._numbers.pop(0)


def test_only_the_root_draws(kept: KeptSpans) -> None:
    """Below a trace that lost the draw nobody draws again, and a trace of its own does."""
    with kept() as opened:
        draws = Draws(0.9, 0.1)
        process = Traces(opened._tracer, share=0.5, secret=b"s", rng=draws)
        with process.here():
            with traces.begin("lost"), traces.begin("below"):
                pass
            with traces.begin("won"), traces.begin("inner"):
                pass
    assert kept.tree() == {"inner": "won", "won": None}


def test_the_share_is_held(kept: KeptSpans) -> None:
    """Of a thousand traces about as many are recorded as were asked for."""
    with kept() as opened:
        process = Traces(opened._tracer, share=0.25, secret=b"s", rng=random.Random(5))
        recorded = [process.begin("root").recorded for _ in range(1000)]
    assert 200 < sum(recorded) < 300


@pytest.mark.parametrize(("flags", "share", "recorded"), [("01", 0.0, True), ("00", 1.0, False)])
def test_a_caller_decides_for_its_own_trace(flags: str, share: float, recorded: bool) -> None:
    """Its `traceparent` says whether the trace is recorded, and which span is above ours."""
    kept = KeptSpans(Settings(OTEL_TRACES_SAMPLER_ARG=share))
    header = PARENT.format(flags=flags)
    with kept() as process, process.begin("root", traceparent=header):
        assert (traces.trace_id() == "0af7651916cd43dd8448eb211c80319c") is recorded
    parents = [f"{s.parent.span_id:016x}" for s in kept.spans if s.parent]
    assert parents == (["b7ad6b7169203331"] if recorded else [])


@pytest.mark.parametrize("header", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_faulty_parent_is_none(header: str, kept: KeptSpans, process: Traces) -> None:
    """The trace begins here then."""
    with process.begin("root", traceparent=header):
        pass
    assert kept.tree() == {"root": None}


def test_an_error_leaves_its_code_and_not_its_words(kept: KeptSpans, process: Traces) -> None:
    """A message may quote a person, so neither it nor a traceback is exported."""
    with pytest.raises(ProviderBusy), process.begin("root"):
        raise ProviderBusy(f"for {PLANTED}")
    with pytest.raises(ZeroDivisionError), process.begin("other"):
        raise ZeroDivisionError(PLANTED)
    with pytest.raises(asyncio.CancelledError), process.begin("left"):
        raise asyncio.CancelledError
    assert [s.status.status_code for s in kept.spans] == [StatusCode.ERROR] * 3
    reasons = [(s.attributes or {})["error.type"] for s in kept.spans]
    assert reasons == ["rate_limit_exceeded", "ZeroDivisionError", "cancelled"]
    assert PLANTED not in "".join(span.to_json() for span in kept.spans)


def test_a_fact_is_masked_once_more(kept: KeptSpans, process: Traces) -> None:
    """Facts are no texts; one that is by mistake still shows nothing."""
    with process.begin("root", facts={"a": PLANTED}) as span:
        span.note({"b": f"x {PLANTED}", "n": 3})
        span.event("happened", {"c": PLANTED})
    assert PLANTED not in kept.named("root").to_json()
    assert kept.facts("root")["n"] == 3


def test_a_pseudonym_is_the_same_for_the_same_secret_only() -> None:
    """Requests of a user can be found together; the user cannot be found by guessing."""
    words = []
    for secret in ("a" * 32, "a" * 32, "b" * 32):
        with KeptSpans(Settings(SECRET_KEY=secret))() as process, process.begin("root") as span:
            words.append(span.pseudonym("hong"))
    assert words[0] == words[1] != words[2]
    assert "hong" not in words[0]


def test_spans_reach_the_collector() -> None:
    """The end of the process sends what is waiting, with the headers that the settings name."""
    with collecting() as (collector, url):
        settings = Settings(
            OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_HEADERS="x-tenant=seven"
        )
        with exporting(settings) as process, process.begin("root"), traces.begin("search"):
            pass
    assert sorted(collector.names) == ["root", "search"]
    assert collector.headers[0]["x-tenant"] == "seven"


@pytest.mark.parametrize("hangs", [True, False])
def test_a_dead_collector_costs_no_time(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a span nor the end of the process waits for it, whether it hangs or is not there."""
    monkeypatch.setattr(export, "CLOSE_S", 0.1)
    with collecting(hangs=hangs) as (_, url):
        address = url if hangs else "http://127.0.0.1:9"
        with exporting(Settings(OTEL_EXPORTER_OTLP_ENDPOINT=address)) as process:
            began_s = time.monotonic()
            # More than the queue holds, so that some are dropped.
            for _ in range(2 * export.QUEUE_SPANS):
                with process.begin("root"):
                    pass
        waited_s = time.monotonic() - began_s
    for thread in threading.enumerate():
        if thread.name.startswith("Otel"):
            thread.join(10)
    # The library alone would wait for 30 s at the end, and an export takes EXPORT_S.
    assert waited_s < 10
