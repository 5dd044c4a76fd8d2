"""Streamed runs: what is sent, in which pieces, and what happens when a reader leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.api.runs import KEEP_S, MAX_UNSENT_BYTES, Run, Runs
from apps.core.domain.models import AnswerRecord, AnswerRequest
from apps.core.errors import BusinessFailure, NotFound, ProviderBusy
from apps.orchestration.events import Complete, Data, Event, Failed
from tests.fakes.answerer import FakeAnswerer, record_of
from tests.fakes.clock import FakeClock

ASKED = AnswerRequest("딥러닝?", request_id="r1")


async def ignore(record: AnswerRecord | None) -> None:
    """Nobody waits for the end."""


def parsed(raw: bytes) -> list[tuple[str, str, dict[str, object]]]:
    """(id, event, body) of every event in a stream."""
    found = []
    for block in raw.decode().split("\n\n"):
        fields = dict(row.split(": ", 1) for row in block.split("\n") if row and row[0] != ":")
        if fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def read(run: Run, events: AsyncGenerator[Event, None], after: int = 0) -> bytes:
    """Everything that a patient reader gets."""
    raw = bytearray()
    async with asyncio.TaskGroup() as group:
        group.create_task(run.fill(events, request_id="r1", ended=ignore))
        async for chunk in run.chunks(after):
            raw += chunk
    return bytes(raw)


async def of(*events: Event) -> AsyncGenerator[Event, None]:
    """A run made of `events`."""
    for each in events:
        yield each


@given(st.lists(st.text(max_size=50), max_size=40))
def test_joined_data_is_the_answer(pieces: list[str]) -> None:
    """However the text is cut, its pieces join to the whole, and one event ends the run."""

    async def check() -> None:
        text = "".join(pieces)
        complete = Complete(record_of(ASKED, text))
        found = parsed(await read(Run("run", owner="o"), of(*map(Data, pieces), complete)))
        assert "".join(str(body["text"]) for _, name, body in found if name == "data") == text
        assert [name for _, name, _ in found].count("complete") == 1
        assert found[-1][1] == "complete"

    asyncio.run(check())


async def test_small_pieces_become_one_event() -> None:
    """A hundred tokens in one moment are one event, ten thousand are cut at 4,096 bytes."""
    few = of(*[Data("가")] * 100, Complete(record_of(ASKED)))
    assert [n for _, n, _ in parsed(await read(Run("a", owner="o"), few))] == ["data", "complete"]
    many = of(*[Data("가")] * 10_000, Complete(record_of(ASKED)))
    sizes = [
        len(str(body["text"]).encode())
        for _, name, body in parsed(await read(Run("b", owner="o"), many))
        if name == "data"
    ]
    assert max(sizes) <= 4096 + 3
    assert len(sizes) == 8


async def test_the_first_text_does_not_wait_for_the_second() -> None:
    """A piece is sent after the flush interval although the next one never comes."""
    answerer = FakeAnswerer()
    answerer.gates[1] = asyncio.Event()
    run = Run("run", owner="o", flush_s=0.001)
    filling = asyncio.create_task(run.fill(answerer.stream(ASKED), request_id="r1", ended=ignore))
    raw = b""
    async for chunk in run.chunks():
        raw += chunk
        if b"event: data" in raw:
            break
    assert parsed(raw)[-1][2] == {"text": answerer.pieces[0]}
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)


async def test_a_slow_reader_is_felt() -> None:
    """The run pauses before more than 64 KiB wait to be taken, however long the answer."""
    made = 0

    async def endless() -> AsyncGenerator[Event, None]:
        nonlocal made
        while True:
            made += 1
            yield Data("x" * 4096)

    run = Run("run", owner="o")
    filling = asyncio.create_task(run.fill(endless(), request_id="r1", ended=ignore))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert run.kept_bytes <= MAX_UNSENT_BYTES
    before = made
    reader = run.chunks()
    await anext(reader)
    await anext(reader)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert made > before
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)


async def test_a_failed_run_ends_with_one_error() -> None:
    """The body is a problem, with the text that was sent before."""
    error = ProviderBusy("The model is busy.")
    raw = await read(Run("run", owner="o"), of(Data("half"), Failed(error, "half")))
    assert [name for _, name, _ in parsed(raw)] == ["data", "error"]
    body = parsed(raw)[-1][2]
    assert (body["code"], body["request_id"]) == ("rate_limit_exceeded", "r1")
    assert (body["partial"], body["partial_text"]) == (True, "half")


async def test_a_run_without_an_end_fails() -> None:
    """A stream that just stops is told as a failure."""
    found = parsed(await read(Run("run", owner="o"), of(Data("x"))))
    assert found[-1][1:] == ("error", found[-1][2])
    assert found[-1][2]["code"] == "system_failure"


async def test_a_surprise_is_told_and_raised() -> None:
    """The reader gets a failure without details; the traceback goes on to the log."""
    answerer = FakeAnswerer()
    answerer.surprise = RuntimeError("SELECT")
    run = Run("run", owner="o")
    with pytest.raises(RuntimeError):
        await run.fill(answerer.stream(ASKED), request_id="r1", ended=ignore)
    raw = b"".join([chunk async for chunk in run.chunks()])
    assert parsed(raw)[-1][1] == "error"
    assert b"SELECT" not in raw


async def test_a_heartbeat_while_nothing_happens() -> None:
    """A comment shows that the run lives."""
    run = Run("run", owner="o")
    assert await anext(run.chunks(heartbeat_s=0.001)) == b": alive\n\n"


async def interrupted(run: Run) -> int:
    """Let a run be cut after its second piece; the number of the last frame that was read."""
    answerer = FakeAnswerer()
    answerer.gates[2] = asyncio.Event()
    filling = asyncio.create_task(run.fill(answerer.stream(ASKED), request_id="r1", ended=ignore))
    raw = b""
    async for chunk in run.chunks():
        raw += chunk
        if b"event: data" in raw:
            break
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    assert answerer.cancelled == 1
    return len(parsed(raw))


async def test_an_interrupted_run_goes_on_where_it_stopped() -> None:
    """Before and after joined are the answer, and no frame number comes twice."""
    run = Run("run", owner="o", flush_s=0.001)
    last = await interrupted(run)
    rest = parsed(await read(run, FakeAnswerer().stream(ASKED), last))
    assert [name for _, name, _ in rest] == ["data", "complete"]
    everything = parsed(b"".join([chunk async for chunk in run.chunks(0)]))
    assert [number for number, _, _ in everything] == [
        f"run.{place}" for place in range(1, len(everything) + 1)
    ]
    text = "".join(str(body["text"]) for _, name, body in everything if name == "data")
    assert text == everything[-1][2]["answer"]


@pytest.mark.parametrize(
    "other", [("Something else, which is longer than what was sent. ", "[1]"), ()]
)
async def test_another_answer_is_not_glued_on(other: tuple[str, ...]) -> None:
    """When the second run says something else, the stream ends with an error."""
    run = Run("run", owner="o", flush_s=0.001)
    last = await interrupted(run)
    answerer = FakeAnswerer()
    answerer.pieces = other
    rest = parsed(await read(run, answerer.stream(ASKED), last))
    assert [name for _, name, _ in rest] == ["error"]
    assert rest[0][2]["retryable"] is True


async def test_a_finished_run_is_replayed_from_memory() -> None:
    """Whoever comes back after the end gets what is missing and asks nobody."""
    run = Run("run", owner="o")
    whole = parsed(await read(run, FakeAnswerer().stream(ASKED)))
    assert parsed(b"".join([chunk async for chunk in run.chunks(1)])) == whole[1:]


def test_runs_are_kept_five_minutes_for_their_owner() -> None:
    """After that, and for others, and for nonsense, there is nothing to resume."""
    clock = FakeClock()
    runs = Runs(clock)
    run = Run("run", owner="me")
    runs.add(run)
    assert runs.resume("run.3", owner="me") == (run, 3)
    with pytest.raises(BusinessFailure):
        runs.resume("run.3", owner="you")
    for nonsense in ("run", "run.", "run.x", "other.3", "", "run.²"):
        with pytest.raises(NotFound):
            runs.resume(nonsense, owner="me")
    clock.pass_s(KEEP_S + 1)
    with pytest.raises(NotFound):
        runs.resume("run.3", owner="me")


async def test_old_runs_make_room() -> None:
    """Memory is bounded: the oldest are forgotten first, the newest is always kept."""
    runs = Runs(FakeClock())
    for number in range(12):
        run = Run(f"run{number}", owner="o")
        await read(run, of(*[Data("x" * 2_000_000)], Complete(record_of(ASKED))))
        runs.add(run)
    with pytest.raises(NotFound):
        runs.resume("run0.1", owner="o")
    assert runs.resume("run11.1", owner="o")[0] is run
