"""News of flags through a real Redis, and peace without one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from apps.core.bell import Bell
from apps.core.flags.store import FlagStore
from apps.core.flags.upkeep import Upkeep
from apps.core.settings import Settings
from apps.core.storage import flags
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause
from tests.core.test_cache_redis import SERVER, RealRedis
from tests.fakes.clock import FakeClock

CAUSE = Cause("mira", "rest", 1_700_000_000.0)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealRedis]:
    if SERVER is None:
        pytest.skip("redis-server is not installed")
    server = RealRedis(tmp_path)
    yield server
    server.kill()


@contextlib.asynccontextmanager
async def listening(bell: Bell) -> AsyncIterator[asyncio.Queue[int]]:
    heard: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(bell.listen(heard.put))
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bell.close()


async def test_one_rings_and_another_hears(redis: RealRedis) -> None:
    """Numbers arrive; what is no number is passed over."""
    ringing = Bell(redis.url)
    async with listening(Bell(redis.url)) as heard, asyncio.timeout(10):
        while heard.empty():
            await ringing.ring(7)
            await asyncio.sleep(0)
        assert await heard.get() == 7
    await ringing.close()


async def test_without_redis_nothing_happens(redis: RealRedis) -> None:
    """Ringing and listening fail for nobody."""
    redis.kill()
    bell = Bell(redis.url)
    async with listening(bell) as heard:
        await bell.ring(7)
        assert heard.empty()


async def test_a_newer_version_is_read_and_an_older_is_not(
    storage: Storage, make_settings: Callable[..., Settings]
) -> None:
    """A worker takes from the bell only that it is worth asking SQL."""
    store = FlagStore(make_settings(), clock=FakeClock())
    store.attach(storage)
    upkeep = Upkeep(store, FakeClock())
    async with storage.session() as s:
        version = (await flags.kill(s, "debate_mode", cause=CAUSE)).version
    await upkeep.heard(0)
    assert store.snapshot.version == 0
    await upkeep.heard(version)
    assert store.snapshot.version == version
