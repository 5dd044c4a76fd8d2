"""The second level against a real Redis that is killed, stopped and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.core import cache as cache_module
from apps.core.cache import Cache, Limits, RedisLevel
from tests.core.test_cache import TTL_S, StillClock, record

pytestmark = pytest.mark.redis
SERVER = shutil.which("redis-server")
LONGEST_CALL_S = 0.5


class RealRedis:
    """A redis-server of this test, without persistence."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._home = home
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [SERVER or "", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(
            [*command, "--appendonly", "no", "--dir", str(self._home)], stdout=subprocess.DEVNULL
        )
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealRedis]:
    """A running Redis; without the program the test fails on CI and is skipped elsewhere."""
    if SERVER is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is needed on CI")
        pytest.skip("redis-server is not installed")
    server = RealRedis(tmp_path)
    yield server
    server.kill()


def make(redis: RealRedis, clock: StillClock | None = None, generation: int = 0) -> Cache:
    """A process's cache over this Redis."""
    clock = clock or StillClock()
    level = RedisLevel(redis.url, clock)
    limits = Limits(100, 1_000_000, TTL_S)
    return Cache(limits, clock=clock, redis=level, generation=lambda _region: generation)


async def test_what_one_process_put_another_finds(redis: RealRedis) -> None:
    """A whole answer travels through Redis and comes back equal, then is at hand."""
    one, other = make(redis), make(redis)
    await one.put("answer:1", record())
    assert await other.get("answer:1", type(record())) == record()
    assert await other.get("answer:1", type(record())) == record()
    assert other.stats()["regions"]["answer"]["hits"] == {"redis": 1, "local": 1}
    await asyncio.gather(one.close(), other.close())


async def test_a_value_from_redis_ends_when_it_would_have(redis: RealRedis) -> None:
    """Taking a copy does not lengthen a life."""
    clock = StillClock()
    one, other = make(redis), make(redis, clock)
    await one.put("a:1", 1, ttl_s=30)
    await other.get("a:1", int)
    await one.clear()
    clock.seconds += 30
    assert await other.get("a:1", int) is None
    await asyncio.gather(one.close(), other.close())


async def test_another_generation_does_not_find_it(redis: RealRedis) -> None:
    """What was kept before a region was emptied stays unseen by everyone."""
    old, new = make(redis, generation=1), make(redis, generation=2)
    await old.put("a:1", 1)
    assert await new.get("a:1", int) is None
    await asyncio.gather(old.close(), new.close())


async def test_clearing_reaches_redis(redis: RealRedis) -> None:
    """Only what begins with the prefix goes, also when the prefix looks like a pattern."""
    one, other, third = make(redis), make(redis), make(redis)
    for key in ("a:1", "b:1", "*:1"):
        await one.put(key, 1)
    await one.clear("*:")
    assert [await other.get(key, int) for key in ("a:1", "b:1", "*:1")] == [1, 1, None]
    await one.clear("a:")
    await other.clear("a:")
    assert await third.get("a:1", int) is None
    await asyncio.gather(one.close(), other.close(), third.close())


async def test_what_cannot_be_read_is_not_there(redis: RealRedis) -> None:
    """A value of another shape, from another release, reads as a miss."""
    one, other = make(redis), make(redis)
    await one.put("a:1", "text")
    assert await other.get("a:1", int) is None
    await asyncio.gather(one.close(), other.close())


async def _timed(cache: Cache, key: str) -> float:
    """Seconds of a put and a get of something that is not at hand, which must not raise."""
    started = time.monotonic()
    await cache.put(key, 1)
    assert await cache.get(f"{key}-other", int) is None
    return time.monotonic() - started


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_dying_redis_costs_little_and_raises_nothing(
    redis: RealRedis, fault: signal.Signals
) -> None:
    """Killed or hanging in mid-use: calls stay short, the process's own level works on."""
    clock = StillClock()
    cache = make(redis, clock)
    assert await cache.redis_state() == "connected"
    redis.process.send_signal(fault)
    for number in range(3):
        clock.seconds += cache_module.REST_S  # each time it is asked again
        assert await _timed(cache, f"a:{number}") < LONGEST_CALL_S
    assert await cache.get("a:0", int) == 1
    assert await cache.redis_state() == "disconnected"
    await cache.close()


async def test_a_hanging_redis_is_left_in_peace(redis: RealRedis) -> None:
    """After one call that waited, the next ones do not."""
    cache = make(redis)
    await cache.redis_state()
    redis.process.send_signal(signal.SIGSTOP)
    await _timed(cache, "a:1")
    started = time.monotonic()
    for number in range(100):
        await cache.get(f"b:{number}", int)
    assert time.monotonic() - started < LONGEST_CALL_S
    await cache.close()


async def test_a_redis_that_comes_back_takes_part_again(redis: RealRedis) -> None:
    """Nobody has to restart the service."""
    clock = StillClock()
    cache = make(redis, clock)
    await cache.put("a:1", 1)
    redis.kill()
    await cache.put("a:2", 1)
    redis.start()
    clock.seconds += cache_module.REST_S
    assert await cache.redis_state() == "connected"
    await cache.put("a:3", 3)
    other = make(redis)
    assert await other.get("a:3", int) == 3
    await asyncio.gather(cache.close(), other.close())


async def test_a_redis_that_was_never_there_is_no_error() -> None:
    """A wrong address costs nothing but the second level."""
    cache = Cache(
        Limits(10, 1000, TTL_S),
        clock=StillClock(),
        redis=RedisLevel("redis://127.0.0.1:1/0", StillClock()),
    )
    assert await _timed(cache, "a:1") < LONGEST_CALL_S
    assert await cache.get("a:1", int) == 1
    await cache.close()
