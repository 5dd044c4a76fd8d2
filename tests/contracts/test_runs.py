"""Runs on both engines: one worker at a time tells, and nothing that was read is told otherwise."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from apps.api import sse
from apps.api.frozen import frozen
from apps.api.kept_runs import SqlRuns
from apps.api.run_worker import LOOK_S, RunWorker
from apps.core.domain.models import AnswerRequest, Caller
from apps.core.storage import jobs, runs
from apps.core.storage.changes import open_watch
from apps.core.storage.engine import Storage
from apps.core.storage.jobs import LEASE_S, MAX_LOST
from apps.core.storage.runs import End, Told
from tests.fakes.answerer import PIECES, FakeAnswerer
from tests.fakes.clock import FakeClock

ME, YOU = "host-a:1:me", "host-b:2:you"
OWNER = Caller("k1", frozenset({"answer"}))
ASKED = AnswerRequest("딥러닝?", request_id="r1", caller=OWNER, decisions={})
PEPPER = b"p" * 32


async def accept(storage: Storage, run_id: str = "run", *, now: float = 100.0) -> None:
    async with storage.session() as s:
        await runs.accept(s, run_id, frozen(ASKED, pepper=PEPPER), now=now)


async def lease(storage: Storage, worker: str, now: float) -> list[str]:
    async with storage.session() as s:
        taken = await jobs.lease(s, worker, kinds=("answer",), now=now)
    return [job.id for job in taken]


async def begin(storage: Storage, worker: str) -> list[str] | None:
    async with storage.session() as s:
        return await runs.begin(s, worker, "run")


async def add(
    storage: Storage, worker: str, *frames: str, after: int = 0, end: End | None = None
) -> bool:
    async with storage.session() as s:
        return await runs.add(s, worker, Told("run", after, frames, end), now=110.0)


async def read(storage: Storage) -> list[str]:
    async with storage.reading() as s:
        return await runs.frames(s, "run")


async def note_reader(storage: Storage) -> None:
    async with storage.session() as s:
        await runs.note_reader(s, "run")


async def test_only_the_holder_tells(storage: Storage) -> None:
    """A worker whose lease ran out keeps nothing more, not even the end."""
    await accept(storage)
    assert await lease(storage, ME, 100) == ["run"]
    assert await begin(storage, ME) == []
    assert await add(storage, ME, "a", "b")
    assert await lease(storage, YOU, 110 + LEASE_S + 1) == ["run"]
    assert not await add(storage, ME, "c", after=2)
    assert not await add(storage, ME, "c", after=2, end=End("done"))
    assert await begin(storage, ME) is None
    assert await read(storage) == ["a", "b"]


async def test_a_commit_that_was_kept_unknown_is_not_doubled(storage: Storage) -> None:
    """The same frames again are known; with the end as well."""
    await accept(storage)
    await lease(storage, ME, 100)
    assert await add(storage, ME, "a", "b")
    assert await add(storage, ME, "a", "b")
    assert await add(storage, ME, "c", after=2, end=End("done"))
    assert await add(storage, ME, "c", after=2, end=End("done"))
    assert not await add(storage, ME, "d", after=3)
    assert await read(storage) == ["a", "b", "c"]


async def test_what_was_read_is_held_to(storage: Storage) -> None:
    """A takeover forgets what nobody has seen, and gets what somebody may have."""
    await accept(storage)
    await lease(storage, ME, 100)
    await add(storage, ME, "a")
    await lease(storage, YOU, 200)
    assert await begin(storage, YOU) == []
    assert await read(storage) == []
    assert await add(storage, YOU, "b")
    await note_reader(storage)
    await note_reader(storage)
    await lease(storage, ME, 300)
    assert await begin(storage, ME) == ["b"]
    assert await add(storage, ME, "c", after=1)
    assert await read(storage) == ["b", "c"]


async def test_a_reader_who_comes_with_the_takeover_waits_for_it(storage: Storage) -> None:
    """Else it could read what the takeover, which has not seen it, is about to forget."""

    async def reader() -> list[str]:
        await note_reader(storage)
        return await read(storage)

    await accept(storage)
    await lease(storage, ME, 100)
    await add(storage, ME, "a")
    async with storage.session() as s:
        assert await runs.begin(s, ME, "run") == []
        reading = asyncio.create_task(reader())
        done, _ = await asyncio.wait({reading}, timeout=0.3)
        assert not done
    assert await reading == []


async def test_a_cancel_and_an_event_at_once(storage: Storage) -> None:
    """A cancel that knows less than was told is refused; a told one ends the worker's turn."""
    await accept(storage)
    await lease(storage, ME, 100)
    async with storage.reading() as s:
        known = await runs.get(s, "run", now=100.0)
    assert known is not None
    await add(storage, ME, "a")
    async with storage.session() as s:
        assert not await runs.cancel(s, known, "end", now=120.0)
        newer = await runs.get(s, "run", now=100.0)
        assert newer is not None
        assert await runs.cancel(s, newer, "end", now=120.0)
        assert not await runs.cancel(s, newer, "end", now=120.0)
    assert not await add(storage, ME, "b", after=1)
    assert await read(storage) == ["a", "end"]
    async with storage.session() as s:
        assert await jobs.heartbeat(s, ME, ["run"], now=130.0) == set()


async def test_a_run_is_no_dead_letter(storage: Storage) -> None:
    """It has its end; nobody lists it as background work or tries it again."""
    await accept(storage)
    await lease(storage, ME, 100)
    await add(storage, ME, "a", end=End("failed", "c", "d"))
    async with storage.session() as s:
        assert await jobs.failed(s) == []
        assert not await jobs.retry(s, "run", now=200.0)
        found = await runs.get(s, "run", now=200.0)
    assert found is not None
    assert (found.state, found.error_code, found.error) == ("failed", "c", "d")


async def test_old_runs_are_forgotten_with_their_events(storage: Storage) -> None:
    """Those that go on and jobs of other kinds stay."""
    await accept(storage)
    await accept(storage, "other", now=101.0)
    async with storage.session() as s:
        await jobs.enqueue(s, jobs.Job("ingest", "ingest"), now=1.0)
        await jobs.lease(s, ME, kinds=("ingest",), now=1.0)
        await jobs.finish(s, ME, "ingest", now=1.0)
    await lease(storage, ME, 100)
    await add(storage, ME, "a", end=End("done"))
    async with storage.session() as s:
        assert await runs.forget_before(s, 110.0) == 0
        assert await runs.forget_before(s, 111.0) == 1
        assert {job.id for job in await jobs.listed(s)} == {"other", "ingest"}
    assert await read(storage) == []


async def until(kept: SqlRuns, run_id: str, *states: str) -> None:
    """Look, without reading, until the run is in one of these states."""
    async with asyncio.timeout(20):
        for _ in itertools.count():
            if (await kept.view(run_id, OWNER)).state in states:
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def working(
    storage: Storage, clock: FakeClock, answerer: FakeAnswerer, *, name: str = ME
) -> AsyncIterator[SqlRuns]:
    """A worker of runs in this process."""
    watch = await open_watch(storage.url)
    kept = SqlRuns(storage, RunWorker(storage, watch, clock, name=name), clock, pepper=PEPPER)
    task = asyncio.create_task(kept.work(answerer))
    try:
        yield kept
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await watch.close()


async def events(kept: SqlRuns, run_id: str = "run") -> list[tuple[str, dict]]:
    """Everything that a run tells."""
    said = b"".join([each async for each in await kept.follow(run_id, OWNER, after=0)])
    frames = [sse.told(block) for block in said.split(b"\n\n") if block and block[:1] != b":"]
    return [(name, json.loads(body)) for name, body in frames]


def begun(*pieces: str) -> list[str]:
    """What another worker has told of a run."""
    bodies = [("metadata", {"answer_id": "run"}), *(("data", {"text": each}) for each in pieces)]
    return [
        sse.frame(name, body, frame_id=f"run.{number}").decode()
        for number, (name, body) in enumerate(bodies, start=1)
    ]


async def lost(storage: Storage, clock: FakeClock, *pieces: str, read: bool) -> None:
    """A run whose worker, on another machine, is dead."""
    now = clock.now()
    await accept(storage, now=now)
    await lease(storage, YOU, now)
    async with storage.session() as s:
        await runs.add(s, YOU, Told("run", 0, begun(*pieces)), now=now)
        if read:
            await runs.note_reader(s, "run")


async def test_a_lapsed_run_is_taken_over_and_goes_on(storage: Storage) -> None:
    """Not before the lease has run out; then what was told is not told again."""
    clock, answerer = FakeClock(), FakeAnswerer()
    await lost(storage, clock, PIECES[0], read=True)
    async with working(storage, clock, answerer) as kept:
        clock.pass_s(LEASE_S - 1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not answerer.asked
        clock.pass_s(LOOK_S + 2)
        async with asyncio.timeout(20):
            told = await events(kept)
    assert [name for name, _ in told] == ["metadata", "data", "data", "complete"]
    assert "".join(body["text"] for name, body in told if name == "data") == "".join(PIECES)
    assert answerer.asked[0].question == ASKED.question


@pytest.mark.parametrize(("read", "names"), [(True, ["metadata", "data", "error"]), (False, None)])
async def test_another_answer_is_told_only_to_who_has_read_nothing(
    storage: Storage, *, read: bool, names: list[str] | None
) -> None:
    """A second try that says something else contradicts a reader, but not nobody."""
    clock = FakeClock()
    await lost(storage, clock, "Something else.", read=read)
    clock.pass_s(LEASE_S + 1)
    async with working(storage, clock, FakeAnswerer()) as kept:
        await until(kept, "run", "done", "failed")
        told = await events(kept)
    assert [name for name, _ in told] == (names or ["metadata", "progress", "data", "complete"])


async def test_a_run_that_kills_its_workers_is_given_up(storage: Storage) -> None:
    """After so many tries it fails, with one terminal event that was never stored."""
    clock = FakeClock()
    await lost(storage, clock, "a", read=True)
    for _ in range(MAX_LOST):
        clock.pass_s(LEASE_S + 1)
        await lease(storage, YOU, clock.now())
    clock.pass_s(LEASE_S + 1)
    async with storage.session() as s:
        assert await jobs.bury_lost(s, now=clock.now()) == 1
    async with working(storage, clock, FakeAnswerer()) as kept:
        found = await kept.view("run", OWNER)
        assert (found.state, found.answer) == ("failed", None)
        assert found.problem is not None
        assert found.problem["code"] == "system_failure"
        assert (await events(kept))[-1] == ("error", found.problem)


async def test_a_worker_that_stops_gives_its_runs_back(storage: Storage) -> None:
    """The next one takes them at once, without waiting for the lease."""
    clock, stuck, next_one = FakeClock(), FakeAnswerer(), FakeAnswerer()
    stuck.gates[0] = asyncio.Event()
    async with working(storage, clock, stuck) as kept:
        run_id = await kept.accept(ASKED)
        await asyncio.wait_for(stuck.called.wait(), 20)
    assert stuck.cancelled == 1
    async with working(storage, clock, next_one, name=YOU) as kept, asyncio.timeout(20):
        assert (await events(kept, run_id))[-1][0] == "complete"


async def test_a_cancel_reaches_another_worker(storage: Storage) -> None:
    """Who is told of it over the database stops the model call."""
    clock, answerer, idle = FakeClock(), FakeAnswerer(), FakeAnswerer()
    answerer.gates[0] = asyncio.Event()
    async with (
        asyncio.timeout(20),
        working(storage, clock, answerer) as here,
    ):
        run_id = await here.accept(ASKED)
        await answerer.called.wait()
        async with working(storage, clock, idle, name=YOU) as there:
            assert (await there.cancel(run_id, OWNER)).state == "cancelled"
            await answerer.left.wait()
    assert not idle.asked
