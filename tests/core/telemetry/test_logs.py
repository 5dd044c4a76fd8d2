"""Logs: one JSON object a line, and nothing that the mask would hide, on any way in."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from apps.core.flags import sources
from apps.core.telemetry import logs

PLANTED = "900101-1234567"
Lines = Callable[[], list[dict[str, object]]]


def mask(text: str) -> str:
    """Stands for the real mask."""
    return text.replace(PLANTED, "[masked]")


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    """Where lines go; the standard library's root logger is put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield io.BytesIO()
    root.handlers[:], root.level = before
    for name in logs.CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines(stream: io.BytesIO) -> Lines:
    """What was logged, line by line."""
    logs.configure("INFO", json=True, mask=mask, stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


class Opaque:
    """An object whose text holds something personal."""

    def __repr__(self) -> str:
        return f"<{PLANTED}>"


@pytest.mark.parametrize(
    "value",
    [
        PLANTED,
        f"call {PLANTED} now",
        [PLANTED],
        (1, [PLANTED]),
        {PLANTED},
        {"deep": {"deeper": [{"x": PLANTED}]}},
        {PLANTED: 1},
        ValueError(PLANTED),
        Opaque(),
        PLANTED.encode(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_personal_data_is_masked_in_any_value(
    lines: Lines, stream: io.BytesIO, value: object
) -> None:
    """However deep or wrapped, what the mask hides is not in the line."""
    structlog.get_logger().info("x.happened", value=value)
    assert PLANTED not in stream.getvalue().decode()
    assert "[masked]" in stream.getvalue().decode()
    assert lines()[0]["event"] == "x.happened"


def test_personal_data_is_masked_in_the_event(lines: Lines) -> None:
    """Also the sentence itself."""
    structlog.get_logger().info(f"call {PLANTED}")
    assert lines()[0]["event"] == "call [masked]"


def test_personal_data_is_masked_in_a_traceback(lines: Lines, stream: io.BytesIO) -> None:
    """An exception's text and its cause's text are texts too."""
    try:
        try:
            raise KeyError(PLANTED)
        except KeyError as cause:
            raise ValueError(PLANTED) from cause
    except ValueError:
        structlog.get_logger().exception("x.failed")
    assert PLANTED not in stream.getvalue().decode()
    assert "Traceback" in str(lines()[0]["exception"])


def test_personal_data_is_masked_in_bound_facts(lines: Lines) -> None:
    """A request id comes from the caller and may hold anything."""
    structlog.contextvars.bind_contextvars(request_id=PLANTED)
    structlog.get_logger().info("x.happened")
    assert lines()[0]["request_id"] == "[masked]"


def test_libraries_take_the_same_way(lines: Lines) -> None:
    """Lines of the standard library are JSON, masked, and name their logger."""
    logging.getLogger("some.library").warning("call %s", PLANTED)
    try:
        raise ValueError(PLANTED)
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    first, second = lines()
    assert (first["event"], first["logger"], first["level"]) == (
        "call [masked]",
        "some.library",
        "warning",
    )
    assert "ValueError: [masked]" in str(second["exception"])


def test_a_line_has_level_and_time(lines: Lines) -> None:
    """UTC, in ISO form."""
    structlog.get_logger().warning("x.happened", n=1, share=0.5, ok=True, none=None)
    line = lines()[0]
    assert line["level"] == "warning"
    assert str(line["timestamp"]).endswith("Z")
    assert (line["n"], line["share"], line["ok"], line["none"]) == (1, 0.5, True, None)


def test_lower_levels_are_not_written(lines: Lines) -> None:
    """Details need LOG_LEVEL=DEBUG, and chatty libraries need more than that."""
    structlog.get_logger().debug("x.happened")
    logging.getLogger("some.library").debug("x")
    logging.getLogger("httpx").info("GET https://host/?key=value")
    assert lines() == []


def test_what_is_no_text_does_not_lose_the_line(lines: Lines) -> None:
    """A lone surrogate cannot be written as it is; the line comes all the same."""
    structlog.get_logger().info("x.happened", value="\ud800", big=1 << 70)
    logging.getLogger("some.library").warning("\ud800")
    assert len(lines()) == 2


def test_lines_for_a_person_are_masked_too(stream: io.BytesIO) -> None:
    """Development has the same rule."""
    logs.configure("INFO", json=False, mask=mask, stream=stream)
    structlog.get_logger().info("x.happened", value=PLANTED)
    text = stream.getvalue().decode()
    assert "x.happened" in text
    assert PLANTED not in text


def test_configuring_twice_writes_once(stream: io.BytesIO) -> None:
    """A second configuration replaces the first."""
    for _ in range(2):
        logs.configure("INFO", json=True, mask=mask, stream=stream)
    logging.getLogger("some.library").warning("x")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("time", ["once", "again"])
def test_a_test_that_sets_up_logging_leaves_nothing_behind(
    time: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module's logger keeps its first set-up for good, so tests would depend on their order."""
    sources.log.warning("before.set_up", time=time)
    assert "before.set_up" in capsys.readouterr().out
    logs.configure("INFO", json=True, mask=mask, stream=io.BytesIO())
    sources.log.warning("after.set_up")
    assert capsys.readouterr().out == ""
