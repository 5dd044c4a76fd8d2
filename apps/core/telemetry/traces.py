"""Spans: what a request did, as a tree of durations and facts.

`with begin("search") as span:` opens a span below the one that is open here, in this task or in
one that it started. Whether a trace is recorded is decided once, where it begins; below a trace
that is not recorded, and in a process that records none, `begin` costs one look at a context
variable. `export.py` says where spans go.

Facts are counts, times, ids and names of closed sets, never a user's text. Of an error only its
code or class travels: its message and its traceback may quote a person.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Protocol

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from apps.core.errors import DtRagError
from apps.core.text import pii

if TYPE_CHECKING:
    from opentelemetry.context import Context

Fact = str | int | float | bool
Facts = Mapping[str, Fact]
INTERNAL, SERVER, CLIENT = SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT
PSEUDONYM_BYTES = 8


class Span(Protocol):
    """An open span; leaving its `with` block ends it, with the error that ended the block."""

    @property
    def recorded(self) -> bool:
        """Whether anybody will see it."""

    def note(self, facts: Facts) -> None:
        """Add facts; the later one of a name wins."""

    def event(self, name: str, facts: Facts) -> None:
        """Add something that happened at this moment."""

    def fail(self, reason: str) -> None:
        """Mark it as failed; `reason` is an error's code or class."""

    def pseudonym(self, name: str) -> str:
        """The same short word for the same name of a person, which does not tell the name."""

    def end(self, error: BaseException | None = None) -> None:
        """End a span that was not opened with `with`, because others must not be below it."""

    def __enter__(self) -> Span:
        """Be the span that the next ones are below."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """End."""


class Place(Protocol):
    """Where a span can begin: an open span, or a process that records traces."""

    def begin(self, name: str, *, kind: SpanKind, facts: Facts | None) -> Span:
        """Open a span here."""


_here: ContextVar[Place | None] = ContextVar("dtrag_place_of_next_span", default=None)


def begin(name: str, *, kind: SpanKind = INTERNAL, facts: Facts | None = None) -> Span:
    """Open a span below the one that is open here; nothing when there is none."""
    place = _here.get()
    return NOTHING if place is None else place.begin(name, kind=kind, facts=facts)


def current() -> Span:
    """The span that is open here; nothing when there is none."""
    place = _here.get()
    return place if isinstance(place, RecordedSpan) else NOTHING


def trace_id() -> str | None:
    """The trace that is recorded here, as 32 hexadecimal digits."""
    place = _here.get()
    return place.trace_id if isinstance(place, RecordedSpan) else None


class Traces:
    """The traces of one process.

    Args:
        tracer: makes the spans of the traces that are recorded.
        share: of the traces that begin here, how many are recorded (0-1). A caller's
            `traceparent` decides for its own trace.
        secret: makes pseudonyms that only its holder can check.
        rng: draws the share.
    """

    def __init__(
        self, tracer: trace.Tracer, *, share: float, secret: bytes, rng: random.Random
    ) -> None:
        self._tracer = tracer
        self._share = share
        self._secret = secret[: hashlib.blake2b.MAX_KEY_SIZE]
        self._rng = rng

    def begin(
        self,
        name: str,
        *,
        kind: SpanKind = INTERNAL,
        facts: Facts | None = None,
        traceparent: str | None = None,
    ) -> Span:
        """Open the first span of a trace here, or of the part of a caller's trace that is here."""
        parent = _parent(traceparent)
        if parent is None:
            is_recorded = self._rng.random() < self._share
        else:
            is_recorded = trace.get_current_span(parent).get_span_context().trace_flags.sampled
        if not is_recorded:
            return Unrecorded()
        return self.opened(name, kind=kind, facts=facts, below=parent)

    def opened(
        self, name: str, *, kind: SpanKind, facts: Facts | None, below: Context | None
    ) -> RecordedSpan:
        """A recorded span below a context's span, or the first one of its trace."""
        span = self._tracer.start_span(
            name, below or trace.set_span_in_context(trace.INVALID_SPAN), kind
        )
        opened = RecordedSpan(span, self)
        if facts:
            opened.note(facts)
        return opened

    def pseudonym(self, name: str) -> str:
        """See `Span.pseudonym`; BLAKE2b with a key, 64 bits (RFC 7693)."""
        hashed = hashlib.blake2b(name.encode(), digest_size=PSEUDONYM_BYTES, key=self._secret)
        return hashed.hexdigest()

    @contextmanager
    def here(self) -> Iterator[None]:
        """Let traces begin in this task and in those that it starts, until the block ends."""
        token = _here.set(self)
        try:
            yield
        finally:
            _here.reset(token)


class RecordedSpan:
    """A span that goes to the collector."""

    recorded = True

    def __init__(self, span: trace.Span, traces: Traces) -> None:
        self._span = span
        self._traces = traces
        self._token: Token[Place | None] | None = None

    @property
    def trace_id(self) -> str:
        """The id of its trace."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def begin(self, name: str, *, kind: SpanKind, facts: Facts | None) -> Span:
        """Open a span below this one."""
        below = trace.set_span_in_context(self._span)
        return self._traces.opened(name, kind=kind, facts=facts, below=below)

    def note(self, facts: Facts) -> None:
        """Add facts, masked once more in case that one is not what it should be."""
        self._span.set_attributes(_masked(facts))

    def event(self, name: str, facts: Facts) -> None:
        """Add something that happened at this moment."""
        self._span.add_event(name, _masked(facts))

    def fail(self, reason: str) -> None:
        """Mark it as failed."""
        self._span.set_attribute("error.type", reason)
        self._span.set_status(StatusCode.ERROR)

    def pseudonym(self, name: str) -> str:
        """See `Span`."""
        return self._traces.pseudonym(name)

    def end(self, error: BaseException | None = None) -> None:
        """End, as failed when there is an error."""
        if error is not None:
            self.fail(reason_of(error))
        self._span.end()

    def __enter__(self) -> RecordedSpan:
        self._token = _here.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._token is not None:
            _here.reset(self._token)
        self.end(error)


class Nothing:
    """The span of a process that records none."""

    recorded = False

    def note(self, facts: Facts) -> None:
        """Nothing."""

    def event(self, name: str, facts: Facts) -> None:
        """Nothing."""

    def fail(self, reason: str) -> None:
        """Nothing."""

    def pseudonym(self, name: str) -> str:
        """Nothing; what is not recorded needs no word."""
        return ""

    def end(self, error: BaseException | None = None) -> None:
        """Nothing."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Nothing."""


NOTHING = Nothing()


class Unrecorded(Nothing):
    """The first span of a trace that is not recorded: nothing below it is either."""

    def __enter__(self) -> Span:
        self._token = _here.set(None)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        _here.reset(self._token)


def reason_of(error: BaseException) -> str:
    """What may be told of an error: its code, or its class."""
    if isinstance(error, DtRagError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__


def _parent(traceparent: str | None) -> Context | None:
    """The caller's span as its header names it (W3C Trace Context); `tracestate` is free text."""
    if traceparent is None:
        return None
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def _masked(facts: Facts) -> dict[str, Fact]:
    return {
        name: pii.mask(value) if isinstance(value, str) else value for name, value in facts.items()
    }
