"""What need not be computed twice: in this process, and in Redis when there is one.

A key is `<region>:<digest>`; the digest covers everything the value depends on (tenant, flags,
index version, options). Values are frozen: every caller gets the same object. Redis only
hastens; while it is slow or away it is left in peace and nobody waits. A region is emptied
everywhere by raising its generation, which every process sees through its change watch.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from glob import escape
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import structlog
from pydantic import TypeAdapter, ValidationError

from apps.core.errors import DtRagError
from apps.core.settings import Settings
from apps.core.telemetry import metrics
from apps.core.telemetry.hits import Tally

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from apps.core.domain.ports import Clock

V = TypeVar("V")
Generation = Callable[[str], int]  # of a region; a value of another one is never found
RedisState = Literal["connected", "disconnected", "not_configured"]

SOCKET_TIMEOUT_S = 0.2
CALL_TIMEOUT_S = 0.3
# So long a failing Redis is not asked again: a hanging one costs one call in many.
REST_S = 2.0
PREFIX = "dtrag:"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the process's own level; `max_bytes` counts values as JSON."""

    max_entries: int
    max_bytes: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, until when it holds, and for which generation of its region."""

    value: object
    size_bytes: int
    ends_at: float
    generation: int


class Cache:
    """Two levels with one face; the second is optional and never trusted to be there."""

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Clock,
        redis: RedisLevel | None = None,
        generation: Generation = lambda _region: 0,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._redis = redis
        self._generation = generation
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._making: dict[str, asyncio.Future[object]] = {}
        self._tally = Tally()
        self._evicted = 0
        self._codecs: dict[type[Any], TypeAdapter[Any]] = {}

    @classmethod
    def open(
        cls, settings: Settings, *, clock: Clock, generation: Generation = lambda _region: 0
    ) -> Cache:
        """The cache that the settings describe; connects to nothing yet."""
        redis = RedisLevel(settings.REDIS_URL, clock) if settings.REDIS_URL else None
        limits = Limits(settings.CACHE_ENTRIES, settings.CACHE_BYTES, settings.CACHE_TTL)
        return cls(limits, clock=clock, redis=redis, generation=generation)

    async def get(self, key: str, kind: type[V]) -> V | None:
        """The value of `key`, None when there is none; does not wait when it is at hand."""
        region, generation = self._place(key)
        entry = self._entries.get(key)
        reason = "absent"
        if entry is not None:
            if entry.generation == generation and self._clock.monotonic() < entry.ends_at:
                self._entries.move_to_end(key)
                self._tally.hit(region, "local")
                return cast(V, entry.value)
            reason = "expired" if entry.generation == generation else "invalidated"
            self._drop(key)
        found = await self._from_redis(key, kind, generation)
        if found is not None:
            self._tally.hit(region, "redis")
            return found
        self._tally.miss(region, reason)
        return None

    async def put(self, key: str, value: object, *, ttl_s: float | None = None) -> None:
        """Keep `value`, for `ttl_s` instead of the usual time when given."""
        life_s = self._limits.ttl_s if ttl_s is None else ttl_s
        if life_s <= 0:
            return
        _, generation = self._place(key)
        encoded = self._codec(type(value)).dump_json(value)
        self._keep(key, Entry(value, len(encoded), self._clock.monotonic() + life_s, generation))
        if self._redis is not None:
            await self._redis.put(f"{generation}:{key}", encoded, life_s)

    async def once(self, key: str, kind: type[V], make: Callable[[], Awaitable[V]]) -> V:
        """The value of `key`; of many who miss it at the same time one makes it for all.

        Raises:
            DtRagError: what `make` raised, for everyone who waited for it.
        """
        while True:
            running = self._making.get(key)
            if running is None:
                found = await self.get(key, kind)
                if found is not None:
                    return found
                if key not in self._making:
                    return await self._make(key, make)
                continue
            await asyncio.wait({running})
            if not running.cancelled():  # else its maker gave up, and the next in line makes it
                value = cast(V, running.result())
                self._tally.hit(self._place(key)[0], "joined")
                return value

    async def clear(self, prefix: str = "") -> int:
        """Forget the keys that begin with `prefix`, here and in Redis; how many were here.

        Other processes keep theirs until the region's generation is raised.
        """
        doomed = [key for key in self._entries if key.startswith(prefix)]
        for key in doomed:
            self._drop(key)
        if self._redis is not None:
            await self._redis.clear(prefix)
        return len(doomed)

    def stats(self) -> Mapping[str, object]:
        """What was counted in this process since its start; rates are None before a question."""
        return {
            "entries": len(self._entries),
            "bytes": self._bytes,
            **asdict(self._limits),
            "evicted": self._evicted,
            **self._tally.report(),
        }

    async def redis_state(self) -> RedisState:
        """Whether the second level takes part."""
        if self._redis is None:
            return "not_configured"
        return "connected" if await self._redis.ping() else "disconnected"

    async def close(self) -> None:
        """Let go of Redis."""
        if self._redis is not None:
            await self._redis.close()

    def _place(self, key: str) -> tuple[str, int]:
        region = key.partition(":")[0]
        return region, self._generation(region)

    async def _from_redis(self, key: str, kind: type[V], generation: int) -> V | None:
        if self._redis is None:
            return None
        encoded, left_s = await self._redis.get(f"{generation}:{key}")
        if encoded is None:
            return None
        try:
            value = self._codec(kind).validate_json(encoded)
        except ValidationError:
            return None  # another release wrote it
        ends_at = self._clock.monotonic() + left_s
        self._keep(key, Entry(value, len(encoded), ends_at, generation))
        return cast(V, value)

    def _codec(self, kind: type[Any]) -> TypeAdapter[Any]:
        if kind not in self._codecs:
            self._codecs[kind] = TypeAdapter(kind)
        return self._codecs[kind]

    def _keep(self, key: str, entry: Entry) -> None:
        self._drop(key)
        self._entries[key] = entry
        self._bytes += entry.size_bytes
        while len(self._entries) > self._limits.max_entries or self._bytes > self._limits.max_bytes:
            self._drop(next(iter(self._entries)))
            self._evicted += 1

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size_bytes

    async def _make(self, key: str, make: Callable[[], Awaitable[V]]) -> V:
        promise: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._making[key] = promise
        try:
            value = await make()
            await self.put(key, value)
            promise.set_result(value)
            return value
        except DtRagError as error:
            promise.set_exception(error)
            promise.exception()  # it counts as seen even when nobody waits
            raise
        finally:
            del self._making[key]
            promise.cancel()  # does nothing to a kept promise


class RedisLevel:
    """Redis with short timeouts and no retries; every failure reads as `nothing there`."""

    def __init__(self, url: str, clock: Clock) -> None:
        # Imported late: a service without Redis need not load its client.
        from redis import asyncio as aio  # noqa: PLC0415
        from redis import backoff, exceptions  # noqa: PLC0415

        self._failures = (exceptions.RedisError, OSError, TimeoutError)
        self._clock = clock
        self._rests_until = 0.0
        pool = aio.BlockingConnectionPool.from_url(
            url,
            max_connections=16,
            timeout=SOCKET_TIMEOUT_S,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            retry=aio.retry.Retry(backoff.NoBackoff(), 0),
        )
        self._client = aio.Redis(connection_pool=pool)

    async def get(self, key: str) -> tuple[bytes | None, float]:
        """The bytes of `key` and the seconds they still hold."""

        async def ask(client: Redis) -> tuple[bytes | None, float]:
            pipe = client.pipeline(transaction=False)
            pipe.get(PREFIX + key)
            pipe.pttl(PREFIX + key)
            encoded, left_ms = await pipe.execute()
            return encoded, max(0, left_ms) / 1000

        return await self._ask(ask, (None, 0.0))

    async def put(self, key: str, encoded: bytes, ttl_s: float) -> None:
        """Keep bytes."""
        ttl_ms = max(1, round(ttl_s * 1000))
        await self._ask(lambda client: client.set(PREFIX + key, encoded, px=ttl_ms), None)

    async def clear(self, prefix: str) -> None:
        """Delete the keys of every generation that begin with `prefix`, as far as time allows."""

        async def ask(client: Redis) -> None:
            async for name in client.scan_iter(f"{PREFIX}*:{escape(prefix)}*", count=1000):
                await client.unlink(name)

        await self._ask(ask, None)

    async def ping(self) -> bool:
        """Whether Redis answers now."""
        return await self._ask(lambda client: client.ping(), False)

    async def close(self) -> None:
        """Close its connections."""
        with contextlib.suppress(*self._failures):
            await self._client.aclose(close_connection_pool=True)

    async def _ask(self, call: Callable[[Redis], Awaitable[V]], otherwise: V) -> V:
        if self._clock.monotonic() < self._rests_until:
            return otherwise
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = await call(self._client)
        except self._failures as error:
            self._rests_until = self._clock.monotonic() + REST_S
            metrics.dependency_up.of("redis").set(0)
            log.warning("redis.lost", error=type(error).__name__, rest_s=REST_S)
            return otherwise
        metrics.dependency_up.of("redis").set(1)
        return answer
