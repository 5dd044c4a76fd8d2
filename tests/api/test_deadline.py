"""A time limit that begins with the first wait."""

from __future__ import annotations

import asyncio

import pytest

from apps.api.deadline import within
from apps.api.exchange import Exchange
from apps.core.errors import DeadlineExceeded


def exchange() -> Exchange:
    return Exchange("r", 0.0, 1.0)


async def test_work_that_never_waits_gets_no_timer() -> None:
    """It ends in one go, with the loop none the wiser."""
    own, done = exchange(), []

    async def work() -> None:
        done.append(1)

    await within(1.0, own, work())
    assert (done, own.timer) == ([1], None)


async def test_work_that_waits_ends_as_if_it_were_awaited() -> None:
    """Futures, threads, groups of tasks and limits of its own work inside."""
    heard: list[object] = []

    async def work() -> None:
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            heard.append(await asyncio.to_thread(lambda: "thread"))
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        heard.append(asyncio.current_task())

    await within(5.0, exchange(), work())
    assert heard == ["thread", asyncio.current_task()]


async def test_work_that_waits_too_long_is_cut_short() -> None:
    """It may clean up, and the caller learns that the time was up."""
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(1)

    with pytest.raises(DeadlineExceeded):
        await within(0.0, exchange(), work())
    assert cleaned == [1]


async def test_a_timeout_of_its_own_is_not_ours() -> None:
    """Only the limit around the request is a deadline."""

    async def work() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await within(5.0, exchange(), work())


@pytest.mark.parametrize("waits", [False, True])
async def test_errors_come_through(*, waits: bool) -> None:
    """Before the first wait and after it."""

    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await within(5.0, exchange(), work())


@pytest.mark.parametrize("waits", [False, True])
async def test_a_stream_may_lift_the_limit(*, waits: bool) -> None:
    """Whether the timer runs already or not."""
    own = exchange()

    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        own.lift_deadline()
        await asyncio.sleep(0.05)

    await within(0.02, own, work())
    assert not own.limited


async def test_a_cancelled_caller_cancels_the_work() -> None:
    """Nothing goes on behind a client that has left."""
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(1)

    task = asyncio.create_task(within(5.0, exchange(), work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [1]
