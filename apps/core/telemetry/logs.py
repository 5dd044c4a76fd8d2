"""Structured logs: one JSON object a line on stderr, masked as the very last step.

The request's facts are bound once (`structlog.contextvars.bind_contextvars(request_id=...)`)
and travel with every line of that request, and so does the id of a trace that is recorded. Lines
of libraries take the same way.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from apps.core.telemetry import traces

Mask = Callable[[str], str]
# Made here from numbers and closed sets; a mask could take a date for a birthday.
OWN_FIELDS = frozenset({"level", "timestamp", "trace_id"})
# They log every call with its URL, and our own line says the same without it.
CHATTY = ("httpx", "httpcore", "uvicorn.access", "urllib3", "google_genai")


def configure(level: str, *, json: bool, mask: Mask, stream: BinaryIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        level: the lowest level that is written.
        json: one JSON object a line; otherwise lines for a person.
        mask: removes personal data from a text; sees every text of every line.
        stream: where lines go; stderr when None.
    """
    out = sys.stderr.buffer if stream is None else stream
    number = logging.getLevelNamesMapping()[level]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _traced,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _masked(mask),
    ]
    structlog.configure(
        processors=[*common, _renderer(json=json)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    _bridge(number, [*common, _renderer(json=json)], out)


def _renderer(*, json: bool) -> Processor:
    if json:
        return structlog.processors.JSONRenderer(serializer=_dumps)
    console = structlog.dev.ConsoleRenderer(colors=False)

    def lines(logger: WrappedLogger, name: str, event: EventDict) -> bytes:
        return console(logger, name, event).encode("utf-8", "replace")

    return lines


def _dumps(event: Mapping[str, object], **_options: object) -> bytes:
    try:
        return orjson.dumps(event)
    except TypeError:
        # A lone surrogate: not valid text, but the line must not be lost.
        readable = {key: repr(value) for key, value in event.items()}
        return orjson.dumps(readable)


def _traced(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    found = traces.trace_id()
    if found is not None:
        event["trace_id"] = found
    return event


def _masked(mask: Mask) -> Processor:
    def masked(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        return {
            key: value if key in OWN_FIELDS else _clean(value, mask) for key, value in event.items()
        }

    return masked


def _clean(value: object, mask: Mask) -> object:
    """`value` with every text masked, in a form that JSON can hold."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask(str(key)): _clean(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, mask) for item in value]
    return mask(str(value))


def _bridge(level: int, processors: list[Processor], out: BinaryIO) -> None:
    handler = logging.StreamHandler(_Text(out))
    handler.setFormatter(_LibraryFormatter(processors))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


class _LibraryFormatter(logging.Formatter):
    """Turns a library's record into one of our lines."""

    def __init__(self, processors: list[Processor]) -> None:
        super().__init__()
        self._processors = processors

    def format(self, record: logging.LogRecord) -> str:
        event: Any = {"event": record.getMessage(), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        for processor in self._processors:
            event = processor(None, record.levelname.lower(), event)
        return bytes(event).decode()


class _Text:
    """A text face of a byte stream for the standard library's handler."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, text: str) -> None:
        """Write `text` as UTF-8."""
        self._out.write(text.encode("utf-8", "replace"))

    def flush(self) -> None:
        """Hand everything to the system."""
        self._out.flush()
