"""The process's own level of the cache: what is found, for how long, and what is counted."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import settings
from apps.core.cache import Cache, Limits
from apps.core.domain.flags import FlagDecision
from apps.core.domain.models import AnswerRecord, Citation, Hit, Passage, Source, Usage
from apps.core.errors import StorageDown

TTL_S = 60.0


class StillClock:
    """Time that moves by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        """Seconds since 1970."""
        return self.seconds

    def monotonic(self) -> float:
        """The same seconds."""
        return self.seconds


def make(clock: StillClock | None = None, **changed: object) -> Cache:
    """A cache without a second level."""
    limits = {"max_entries": 3, "max_bytes": 10_000, "ttl_s": TTL_S, **changed}
    return Cache(Limits(**limits), clock=clock or StillClock())


def record() -> AnswerRecord:
    """An answer with every kind of part."""
    passage = Passage("d:0", "d", "제목", "본문 text", 0, 7, "ko", ("t",), ("a", "b"), Source("s"))
    citation = Citation(1, "d:0", "d", "제목", "본문", (0, 2), Source("s", date="2027-01-01"), 0.5)
    return AnswerRecord(
        answer_id="a", request_id="r", question_masked="q", answer="답 [1]", language="ko",
        mode="answer", grounded=True, confidence=0.5, citations=(citation,),
        hits=(Hit(passage, 0.5, highlights=((0, 2),)),), abstained=False, reason=None,
        decisions={"debate_mode": FlagDecision(False, "DEFAULT", "CODE")}, nodes=("retrieve",),
        degraded=(), served_by="primary", answer_origin="compose", usage=Usage(1, 2, 3, 0.5),
        timings_ms={"total": 1.5}, index_version="v", model=None, created_at=1.0,
        trace={"plan": None, "cases": ["c"]},
    )  # fmt: skip


async def test_what_was_put_is_found() -> None:
    """The same object comes back, without a copy."""
    cache, value = make(), record()
    await cache.put("answer:1", value)
    assert await cache.get("answer:1", AnswerRecord) is value


async def test_what_was_not_put_is_not_found() -> None:
    """A miss is None."""
    assert await make().get("answer:1", AnswerRecord) is None


async def test_a_value_ends_with_its_time() -> None:
    """At its last moment it is gone; a time of its own goes before the usual one."""
    clock = StillClock()
    cache = make(clock)
    await cache.put("a:usual", 1)
    await cache.put("a:short", 2, ttl_s=5)
    clock.seconds += 5
    assert (await cache.get("a:usual", int), await cache.get("a:short", int)) == (1, None)
    clock.seconds += TTL_S - 5
    assert await cache.get("a:usual", int) is None


async def test_no_time_means_no_cache() -> None:
    """CACHE_TTL=0 switches the cache off."""
    cache = make(ttl_s=0)
    await cache.put("a:1", 1)
    assert await cache.get("a:1", int) is None


async def test_the_least_recently_used_goes_first() -> None:
    """Over the bound of entries, what nobody asked for leaves."""
    cache = make()
    for name in ("a:1", "a:2", "a:3"):
        await cache.put(name, name)
    await cache.get("a:1", str)
    await cache.put("a:4", "a:4")
    found = [await cache.get(name, str) for name in ("a:1", "a:2", "a:3", "a:4")]
    assert found == ["a:1", None, "a:3", "a:4"]


async def test_memory_is_bounded() -> None:
    """Over the bound of bytes, the oldest leave; a value over the whole bound is not kept."""
    cache = make(max_bytes=100)
    await cache.put("a:1", "x" * 60)
    await cache.put("a:2", "x" * 60)
    assert await cache.get("a:1", str) is None
    assert await cache.get("a:2", str) is not None
    await cache.put("a:3", "x" * 600)
    assert cache.stats()["entries"] == 0
    assert cache.stats()["bytes"] == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60)), max_size=60))
def test_the_bounds_hold_whatever_is_put(puts: list[tuple[str, int]]) -> None:
    """Entries and bytes never exceed their bounds, and an empty cache holds no bytes."""

    async def run() -> None:
        cache = make(max_bytes=100)
        for name, size in puts:
            await cache.put(f"a:{name}", "x" * size)
            stats = cache.stats()
            assert stats["entries"] <= 3
            assert 0 <= stats["bytes"] <= 100
        await cache.clear()
        assert cache.stats()["bytes"] == 0

    asyncio.run(run())


async def test_clearing_by_prefix_leaves_the_rest() -> None:
    """Only the named region is emptied, and the number is told."""
    cache = make()
    await cache.put("answer:1", 1)
    await cache.put("search:1", 2)
    assert await cache.clear("answer:") == 1
    assert await cache.get("answer:1", int) is None
    assert await cache.get("search:1", int) == 2
    assert await cache.clear() == 1


async def test_a_raised_generation_empties_its_region_only() -> None:
    """Another process cleared the region: what was kept before is not found any more."""
    generations = {"answer": 1, "search": 1}
    limits = Limits(10, 10_000, TTL_S)
    cache = Cache(limits, clock=StillClock(), generation=generations.__getitem__)
    await cache.put("answer:1", 1)
    await cache.put("search:1", 2)
    generations["answer"] = 2
    assert await cache.get("answer:1", int) is None
    assert await cache.get("search:1", int) == 2
    await cache.put("answer:1", 3)
    assert await cache.get("answer:1", int) == 3


async def test_nothing_measured_is_null() -> None:
    """Before the first question there is no rate, not a rate of zero."""
    stats = make().stats()
    assert stats["hit_rate"] is None
    assert stats["regions"] == {}


async def test_hits_and_misses_are_counted_by_reason() -> None:
    """The report says why a value was not there."""
    clock = StillClock()
    generation = 0
    limits = Limits(10, 10_000, TTL_S)
    cache = Cache(limits, clock=clock, generation=lambda _region: generation)
    await cache.get("a:1", int)
    await cache.put("a:1", 1)
    await cache.get("a:1", int)
    clock.seconds += TTL_S
    await cache.get("a:1", int)
    await cache.put("a:1", 1)
    generation = 1
    await cache.get("a:1", int)
    region = {"local": 1}, {"absent": 1, "expired": 1, "invalidated": 1}
    assert cache.stats()["regions"] == {
        "a": {"hits": region[0], "misses": region[1], "hit_rate": 0.25}
    }
    assert (cache.stats()["hits"], cache.stats()["misses"]) == (1, 3)


async def test_of_many_at_once_one_makes_the_value() -> None:
    """A stampede costs one computation, and the others count as joined."""
    cache, made = make(), 0

    async def compute() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        return 7

    found = await asyncio.gather(*(cache.once("a:1", int, compute) for _ in range(10)))
    assert (found, made) == ([7] * 10, 1)
    assert cache.stats()["regions"]["a"]["hits"] == {"joined": 9}
    assert await cache.once("a:1", int, compute) == 7
    assert made == 1


async def test_a_failure_is_shared_and_not_kept() -> None:
    """Who waited gets the same error; the next one tries again."""
    cache, attempts = make(), 0

    async def fail() -> int:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        raise StorageDown("away")

    calls = (cache.once("a:1", int, fail) for _ in range(5))
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in found] == [StorageDown] * 5
    assert attempts == 1
    with pytest.raises(StorageDown):
        await cache.once("a:1", int, fail)
    assert attempts == 2


async def test_when_the_maker_leaves_the_next_one_makes_it() -> None:
    """A caller that is cancelled takes nobody with it."""
    cache = make()
    started, makers = asyncio.Event(), []

    async def compute() -> int:
        makers.append(asyncio.current_task())
        started.set()
        if len(makers) == 1:
            await asyncio.Event().wait()
        return 7

    first = asyncio.create_task(cache.once("a:1", int, compute))
    await started.wait()
    others = [asyncio.create_task(cache.once("a:1", int, compute)) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [7, 7, 7]
    assert len(makers) == 2
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_without_redis_the_state_says_so() -> None:
    """Not configured is not the same as lost."""
    cache = Cache.open(settings.load({}), clock=StillClock())
    assert await cache.redis_state() == "not_configured"
    await cache.close()


def test_importing_the_cache_loads_neither_redis_nor_sql() -> None:
    """A start without Redis does not pay for its client, nor for SQLAlchemy."""
    code = (
        "import sys, apps.core.cache, apps.core.settings, apps.core.telemetry.metrics, "
        "apps.core.telemetry.logs; print([m for m in ('redis', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
