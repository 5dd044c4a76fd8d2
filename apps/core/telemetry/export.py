"""The way of spans to a collector: OTLP over HTTP, in batches, behind the requests.

A collector that is slow or dead costs spans and nothing else: the queue is bounded, a batch is
given up after EXPORT_S, and the end of the process waits CLOSE_S at most. Needs the extra `otel`;
only `core.wiring` imports this module, and only when a collector is named.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.util.re import parse_env_headers

from apps.core.settings import Settings
from apps.core.telemetry.traces import Traces

PRODUCT = "dt-rag"
QUEUE_SPANS, BATCH_SPANS = 4096, 512
FLUSH_MS = 2000
EXPORT_S = 3.0
CLOSE_S = 3.0


@contextmanager
def exporting(settings: Settings, *, through: SpanProcessor | None = None) -> Iterator[Traces]:
    """The traces of this process, until the block ends.

    Args:
        settings: the collector, the share of traces, the service's name.
        through: takes finished spans; the way to the collector when absent.
    """
    provider = TracerProvider(
        # The decision is made in `Traces.begin`; what comes here is recorded.
        sampler=ALWAYS_ON,
        # Made here and not by Resource.create, which would read the environment once more.
        resource=Resource(
            {
                "service.name": settings.OTEL_SERVICE_NAME,
                "service.version": metadata.version(PRODUCT),
            }
        ),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(through or _to_collector(settings))
    given = settings.SECRET_KEY
    try:
        yield Traces(
            provider.get_tracer(PRODUCT),
            share=settings.OTEL_TRACES_SAMPLER_ARG,
            secret=given.get_secret_value().encode() if given else secrets.token_bytes(),
            rng=random.SystemRandom(),
        )
    finally:
        provider.shutdown()


class Batches(BatchSpanProcessor):
    """Sends spans in batches from a thread of its own, and ends in a bounded time."""

    def __init__(self, exporter: SpanExporter) -> None:
        super().__init__(
            exporter,
            max_queue_size=QUEUE_SPANS,
            max_export_batch_size=BATCH_SPANS,
            schedule_delay_millis=FLUSH_MS,
        )
        self._sending = exporter

    def shutdown(self) -> None:
        """Send what is waiting; the library alone would try for half a minute."""
        closing = threading.Thread(target=super().shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            # Ends a pause between two tries.
            self._sending.shutdown()


def _to_collector(settings: Settings) -> SpanProcessor:
    headers = settings.OTEL_EXPORTER_OTLP_HEADERS
    return Batches(
        OTLPSpanExporter(
            f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces",
            headers=parse_env_headers(headers.get_secret_value(), liberal=True) if headers else {},
            timeout=EXPORT_S,
        )
    )
