"""The order of events that a listener may rely on."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import BadReply, SystemFailure
from apps.orchestration.events import Data, Failed, Found, Metadata, Progress
from apps.orchestration.outbox import Outbox
from tests.fakes.answering import SEOUL, Stage


async def sent(outbox: Outbox) -> list[Any]:
    """Everything that has been sent."""
    outbox.close()
    events = []
    while (event := await outbox.next()) is not None:
        events.append(event)
    return events


async def test_progress_waits_for_the_passages() -> None:
    """Metadata is first although it is known later."""
    outbox = Outbox("a", "r", {})
    outbox.emit(Progress("understand", "started"))
    outbox.emit(Found((SEOUL,), "v"))
    outbox.emit(Progress("understand", "ended", 2.0))
    assert await sent(outbox) == [
        Metadata("a", "r", {}, (SEOUL,), "v"),
        Progress("understand", "started"),
        Progress("understand", "ended", 2.0),
    ]


async def test_metadata_is_sent_once() -> None:
    """A second search, of a planning agent, does not introduce the run again."""
    outbox = Outbox("a", "r", {})
    outbox.emit(Found((SEOUL,), "v"))
    outbox.emit(Found((), "v"))
    assert len(await sent(outbox)) == 1


async def test_durations_add_up() -> None:
    """A node that ran twice took both times."""
    outbox = Outbox("a", "r", {})
    for ms in (2.0, 3.0):
        outbox.emit(Progress("retrieve", "started"))
        outbox.emit(Progress("retrieve", "ended", ms))
    assert outbox.timings_ms == {"retrieve": 5.0}


async def test_only_a_failure_needs_no_introduction() -> None:
    """Text does; so a stream never begins with it."""
    spoken, failed = Outbox("a", "r", {}), Outbox("a", "r", {})
    spoken.emit(Data("x"))
    failure = Failed(BadReply("x"))
    failed.emit(failure)
    assert [type(e) for e in await sent(spoken)] == [Metadata, Data]
    assert await sent(failed) == [failure]


async def test_the_rest_completes_what_went_out() -> None:
    """Only what is missing is sent, and a contradiction is never covered up."""
    record = await Stage().answer("안녕")
    outbox = Outbox("a", "r", {})
    outbox.emit(Data(record.answer[:5]))
    outbox.tell_rest(record)
    outbox.tell_rest(record)
    assert "".join(e.text for e in await sent(outbox) if isinstance(e, Data)) == record.answer
    other = Outbox("a", "r", {})
    other.emit(Data("something else"))
    with pytest.raises(SystemFailure, match="not how the answer begins"):
        other.tell_rest(record)
