"""Leases outlive neither their process nor a long step."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from apps.core.errors import StorageDown, Unprocessable
from apps.core.storage import jobs
from apps.core.storage.engine import Storage
from apps.core.storage.jobs import LEASE_S, Job
from apps.ingestion.jobs import Runner, dead, describe, retry_wait_s, worker_name
from tests.fakes.clock import FakeClock


def test_names_of_dead_processes_are_recognised() -> None:
    """Only this host's processes are judged: gone ones, and earlier ones with our own number."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    me, host = worker_name(), worker_name().rsplit(":", 2)[0]
    earlier, dead_one = f"{host}:{os.getpid()}:00000000", f"{host}:{gone.pid}:1"
    alive, elsewhere = f"{host}:{os.getppid()}:2", f"other-{host}:{gone.pid}:3"
    assert dead({me, earlier, dead_one, alive, elsewhere}, me) in (
        [earlier, dead_one],
        [dead_one, earlier],
    )
    assert dead({f"{host}:1:a", f"{host}:odd:b"}, me) == [f"{host}:odd:b"]


async def test_a_long_step_keeps_its_lease(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a handler works the lease is prolonged, also after the database was away for once."""
    monkeypatch.setattr("apps.ingestion.jobs.HEARTBEAT_S", 0.001)
    clock = FakeClock()
    beats: list[float] = []
    third = asyncio.Event()
    original = jobs.heartbeat

    async def heartbeat(*arguments: object, now: float) -> set[str]:
        beats.append(now)
        if len(beats) == 1:
            raise StorageDown("away")
        if len(beats) == 3:
            third.set()
        return await original(*arguments, now=now)

    monkeypatch.setattr(jobs, "heartbeat", heartbeat)

    async def slow(_taken: Sequence[Job]) -> None:
        clock.pass_s(LEASE_S - 1)
        await third.wait()
        clock.pass_s(LEASE_S - 1)
        async with storage.session() as s:
            assert await jobs.lease(s, "thief", kinds=("ingest",), now=clock.now()) == []

    async with storage.session() as s:
        await jobs.enqueue(s, Job("a", "ingest"), now=clock.now())
    assert await Runner(storage, {"ingest": slow}, clock=clock).step()
    async with storage.reading() as s:
        done = await jobs.get(s, "a")
    assert done is not None
    assert done.state == "done"


def test_reasons_hold_no_unknown_data() -> None:
    """Our own errors are told as they are; of a stranger's only the kind is."""
    assert describe(Unprocessable("Line 3 is bad.")) == ("validation_error", "Line 3 is bad.")
    assert describe(OSError(28, "No space left on device"))[1] == "OSError: No space left on device"
    assert describe(KeyError("010-1234-5678")) == ("system_failure", "Unexpected KeyError.")


def test_pauses_grow_and_are_bounded() -> None:
    """2, 4, 8 … seconds, five minutes at most."""
    assert [retry_wait_s(n) for n in (1, 2, 3, 20)] == [2, 4, 8, 300]
