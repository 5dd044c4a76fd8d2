"""Where spans go in tests: a list in this process, or a server that speaks OTLP over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from apps.core.settings import Settings
from apps.core.telemetry.export import exporting
from apps.core.telemetry.traces import Traces


class KeptSpans:
    """The finished spans of this process; its instances are what `create_app` calls Tracing."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._kept = InMemorySpanExporter()

    def __call__(self) -> AbstractContextManager[Traces]:
        return exporting(self._settings, through=SimpleSpanProcessor(self._kept))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._kept.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        """The one span of that name."""
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, [span.name for span in self.spans]
        return found[0]

    def tree(self) -> dict[str, str | None]:
        """Every span's name with that of its parent; a parent that is not here has no name."""
        names = {span.context.span_id: span.name for span in self.spans if span.context}
        return {
            span.name: names.get(span.parent.span_id) if span.parent else None
            for span in self.spans
        }

    def facts(self, name: str) -> Mapping[str, object]:
        """The attributes of the one span of that name."""
        return self.named(name).attributes or {}


class Collector:
    """Takes what a service exports and keeps it as it came over the wire."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []

    @property
    def names(self) -> list[str]:
        """The names of all spans that arrived."""
        spans = []
        for body in self.bodies:
            request = ExportTraceServiceRequest.FromString(body)
            spans += [s for r in request.resource_spans for c in r.scope_spans for s in c.spans]
        return [span.name for span in spans]


@contextmanager
def collecting(*, hangs: bool = False) -> Iterator[tuple[Collector, str]]:
    """A collector and its address; one that hangs takes a connection and never answers."""
    collector, over = Collector(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if hangs:
                over.wait()
                return
            collector.bodies.append(body)
            collector.headers.append(dict(self.headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
