"""The queue on both engines: nothing is lost, nothing is done by two, nothing is tried for ever."""

from __future__ import annotations

import asyncio

from apps.core.storage import job_items, jobs
from apps.core.storage.engine import Storage
from apps.core.storage.job_items import Item
from apps.core.storage.jobs import LEASE_S, MAX_FAILURES, MAX_LOST, Job

KINDS = ("ingest", "delete")
ME, YOU = "host:1:me", "host:2:you"


async def enqueue(storage: Storage, *ids: str, now: float = 100.0, **more: object) -> None:
    async with storage.session() as s:
        for number, job_id in enumerate(ids):
            await jobs.enqueue(s, Job(job_id, "ingest", **more), now=now + number)


async def lease(storage: Storage, worker: str, now: float, limit: int = 9) -> list[str]:
    async with storage.session() as s:
        taken = await jobs.lease(s, worker, kinds=KINDS, now=now, limit=limit)
    return [job.id for job in taken]


async def read(storage: Storage, job_id: str) -> Job:
    async with storage.reading() as s:
        found = await jobs.get(s, job_id)
    assert found is not None
    return found


async def test_jobs_are_leased_in_order_and_once(storage: Storage) -> None:
    """The oldest comes first, and what one worker holds no other gets."""
    await enqueue(storage, "a", "b", "c", payload={"x": [1]}, total=2)
    assert await lease(storage, ME, now=200, limit=2) == ["a", "b"]
    assert await lease(storage, YOU, now=200) == ["c"]
    assert await lease(storage, YOU, now=200) == []
    assert await read(storage, "a") == Job(
        "a", "ingest", {"x": [1]}, 2, 0, "running", 1, 100.0, ME, None, None, 100.0, 200.0
    )


async def test_workers_at_the_same_moment_share_the_jobs(storage: Storage) -> None:
    """Eight workers, forty jobs, each done by exactly one."""
    await enqueue(storage, *(f"j{number:02}" for number in range(40)))
    shares = await asyncio.gather(*(lease(storage, f"w{n}", now=500, limit=5) for n in range(8)))
    assert sorted(job_id for share in shares for job_id in share) == [f"j{n:02}" for n in range(40)]


async def test_only_due_jobs_of_the_asked_kinds_are_leased(storage: Storage) -> None:
    """A job may wait for its time, and a worker may refuse a kind."""
    async with storage.session() as s:
        await jobs.enqueue(s, Job("later", "ingest", run_after_at=300.0), now=100)
        await jobs.enqueue(s, Job("other", "embed"), now=100)
    assert await lease(storage, ME, now=200) == []
    assert await lease(storage, ME, now=300) == ["later"]
    async with storage.reading() as s:
        assert await jobs.is_queued(s, "embed")
        assert not await jobs.is_queued(s, "ingest")
        assert await jobs.pending(s, ["embed"]) == 100
        assert await jobs.pending(s, ["ingest"]) == 300 + LEASE_S
        assert await jobs.pending(s, ["delete"]) is None


async def test_a_lease_that_ran_out_is_taken_over_and_the_old_holder_learns_it(
    storage: Storage,
) -> None:
    """A dead worker's job goes on elsewhere; if it was only slow, its writes are refused."""
    await enqueue(storage, "a")
    await lease(storage, ME, now=100)
    assert await lease(storage, YOU, now=100 + LEASE_S) == []
    assert await lease(storage, YOU, now=101 + LEASE_S) == ["a"]
    async with storage.session() as s:
        assert not await jobs.advance(s, ME, "a", step=1, now=140)
        assert not await jobs.finish(s, ME, "a", now=140)
        assert await jobs.heartbeat(s, ME, ["a"], now=140) == set()
        assert await jobs.heartbeat(s, YOU, ["a"], now=140) == {"a"}
        assert await jobs.finish(s, YOU, "a", now=141)
    assert (await read(storage, "a")).state == "done"


async def test_a_heartbeat_keeps_the_lease(storage: Storage) -> None:
    """Prolonged leases are not taken over."""
    await enqueue(storage, "a")
    await lease(storage, ME, now=100)
    async with storage.session() as s:
        await jobs.heartbeat(s, ME, ["a"], now=120)
    assert await lease(storage, YOU, now=101 + LEASE_S) == []


async def test_a_failing_job_is_repeated_and_then_buried(storage: Storage) -> None:
    """Three failures in a row make a dead letter, which can be queued again."""
    await enqueue(storage, "a")
    for attempt in range(1, MAX_FAILURES + 1):
        assert await lease(storage, ME, now=100 * attempt) == ["a"]
        async with storage.session() as s:
            failed = await jobs.get(s, "a")
            assert failed is not None
            reason = ("system_failure", "disk full")
            when = 100.0 * attempt + 50
            await jobs.put_back(s, ME, failed, error=reason, run_after_at=when, now=1)
    dead = await read(storage, "a")
    assert (dead.state, dead.error_code, dead.error) == ("failed", "system_failure", "disk full")
    async with storage.session() as s:
        assert [(each.id, each.state) for each in await jobs.failed(s)] == [("a", "failed")]
        assert await jobs.retry(s, "a", now=900)
        assert await jobs.failed(s) == []
        assert not await jobs.retry(s, "a", now=900)
    assert await lease(storage, ME, now=900) == ["a"]


async def test_progress_starts_the_count_of_tries_anew(storage: Storage) -> None:
    """A job that moves on is not buried for being interrupted often."""
    await enqueue(storage, "a", total=50)
    for step in range(1, 20):
        assert await lease(storage, f"w{step}", now=1000.0 * step) == ["a"]
        async with storage.session() as s:
            assert await jobs.advance(
                s, f"w{step}", "a", step=1, more=2, now=1000.0 * step, payload={"n": step}
            )
            assert await jobs.bury_lost(s, now=1000.0 * step + 999) == 0
    job = await read(storage, "a")
    assert (job.finished, job.total, job.payload) == (19, 88, {"n": 19})


async def test_a_job_that_kills_its_workers_is_buried(storage: Storage) -> None:
    """Work that never gets anywhere ends after a number of lost leases."""
    await enqueue(storage, "a")
    for attempt in range(1, MAX_LOST + 1):
        assert await lease(storage, f"w{attempt}", now=1000.0 * attempt) == ["a"]
    async with storage.session() as s:
        assert await jobs.bury_lost(s, now=1e6) == 1
    assert (await read(storage, "a")).state == "failed"


async def test_leases_of_workers_known_to_be_dead_are_freed(storage: Storage) -> None:
    """A restarted service does not wait for its own old leases to run out."""
    await enqueue(storage, "a")
    await lease(storage, ME, now=100)
    async with storage.session() as s:
        assert await jobs.holders(s) == {ME}
        assert await jobs.release_of(s, [ME], now=101) == 1
    assert await lease(storage, YOU, now=101) == ["a"]


async def test_a_job_that_its_worker_must_leave_is_queued_as_before(storage: Storage) -> None:
    """A shutdown gives jobs back at once and counts as no try."""
    await enqueue(storage, "a", "b")
    await lease(storage, ME, now=200)
    async with storage.session() as s:
        assert await jobs.release(s, YOU, ["a"], now=210) == 0
        assert await jobs.release(s, ME, ["a"], now=210) == 1
    assert (await read(storage, "a")).attempts == 0
    assert await lease(storage, YOU, now=210) == ["a"]


async def test_items_carry_their_content_until_they_are_finished(storage: Storage) -> None:
    """The next unfinished item comes with its bytes; finished ones are emptied but listed."""
    await enqueue(storage, "a")
    async with storage.session() as s:
        await job_items.add(s, "a", [Item(0, "가.txt", {"id": "x"}, b"one"), Item(1, "b", {})])
        first = await job_items.next_of(s, "a")
        assert first == Item(0, "가.txt", {"id": "x"}, b"one")
        await job_items.put(s, "a", Item(0, "", {}, state="queued", doc_ids=("d0",)))
        assert (await job_items.next_of(s, "a")) == Item(0, "가.txt", {}, b"one", doc_ids=("d0",))
        await job_items.put(s, "a", Item(0, "", {}, state="stored", doc_ids=("d0", "d1")))
        failed = Item(1, "b", {}, state="failed", error_code="too_large", error="too big")
        await job_items.put(s, "a", failed)
        assert await job_items.next_of(s, "a") is None
        assert await job_items.listed(s, "a") == [
            failed,
            Item(0, "가.txt", {}, None, "stored", ("d0", "d1")),
        ]
        assert await job_items.counts(s, "a") == {"stored": 1, "failed": 1}
        assert await job_items.stored_ids(s, ["a"]) == ["d0", "d1"]


async def test_ended_jobs_are_listed_and_forgotten(storage: Storage) -> None:
    """Lists are newest first; ended jobs go with their items after a while."""
    await enqueue(storage, "a", "b", "c")
    await lease(storage, ME, now=200, limit=1)
    async with storage.session() as s:
        await job_items.add(s, "a", [Item(0, "x", {}, b"1")])
        await jobs.finish(s, ME, "a", now=210)
        assert [job.id for job in await jobs.listed(s)] == ["c", "b", "a"]
        assert [job.id for job in await jobs.listed(s, before=101.5)] == ["b", "a"]
        assert [job.id for job in await jobs.listed(s, state="done")] == ["a"]
        assert await jobs.forget_before(s, 210) == 0
        assert await jobs.forget_before(s, 211) == 1
        assert await job_items.listed(s, "a") == []
