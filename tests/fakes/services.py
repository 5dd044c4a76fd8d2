"""The services of a whole application, all faked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from apps.api.kept_runs import SqlRuns
from apps.api.ports import Arms
from apps.api.ratelimit import Limiter
from apps.api.run_worker import RunWorker
from apps.api.runs import Runs
from apps.api.services import Part, Services
from apps.core.flags.store import FlagStore
from apps.core.settings import Settings
from apps.core.storage.changes import open_watch
from apps.core.storage.engine import Storage
from tests.fakes.answerer import FakeAnswerer
from tests.fakes.clock import FakeClock
from tests.fakes.flags import FakeFlagStore
from tests.fakes.intake import FakeIntake
from tests.fakes.searcher import FakeSearcher
from tests.fakes.stores import FakeStores


class FakeCache:
    """A cache that holds nothing."""

    def __init__(self) -> None:
        self.redis = "not_configured"
        self.cleared: list[str] = []

    async def redis_state(self) -> str:
        return self.redis

    def stats(self) -> Mapping[str, object]:
        return {"entries": 0, "hits": 0, "misses": 0}

    async def clear(self, prefix: str = "") -> int:
        self.cleared.append(prefix)
        return 0


@dataclass
class FakeUsage:
    """What was counted."""

    counted: list[str] = field(default_factory=list)

    def add(self, key_id: str) -> None:
        self.counted.append(key_id)


@dataclass
class World:
    """Every fake, so that a test can turn its screws."""

    clock: FakeClock = field(default_factory=FakeClock)
    searcher: FakeSearcher = field(default_factory=FakeSearcher)
    stores: FakeStores = field(default_factory=FakeStores)
    cache: FakeCache = field(default_factory=FakeCache)
    answerer: FakeAnswerer = field(default_factory=FakeAnswerer)
    intake: FakeIntake = field(default_factory=FakeIntake)
    usage: FakeUsage = field(default_factory=FakeUsage)
    flags: FakeFlagStore = field(default_factory=FakeFlagStore)
    arms: Arms | None = None
    ready: bool = True
    database_url: str | None = None

    @asynccontextmanager
    async def opening(self, settings: Settings) -> AsyncIterator[Services]:
        """What `create_app(opening=…)` takes."""
        async with self._database():
            yield await self._opened(settings)

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[None]:
        if self.database_url is None:
            yield
            return
        storage = await Storage.open(Settings(DATABASE_URL=self.database_url))
        watch = await open_watch(storage.url)
        runs = SqlRuns(storage, RunWorker(storage, watch, self.clock), self.clock, pepper=b"p" * 32)
        self.stores.storage, self.stores.runs = storage, runs
        working = asyncio.create_task(runs.work(self.answerer))
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await watch.close()
            await storage.close()

    async def _opened(self, settings: Settings) -> Services:
        stored = self.database_url is not None
        services = Services(
            settings=settings,
            clock=self.clock,
            started_s=self.clock.monotonic(),
            searcher=self.searcher,
            index=self.searcher,
            cache=self.cache,
            limiter=Limiter(self.clock),
            runs=Runs(self.clock),
            usage=self.usage,
            flags=FlagStore(settings, clock=self.clock) if stored else self.flags,
            stores=Part("database"),
            arms=Part("arms"),
            intake=Part("ingestion"),
            answerer=Part("answerer"),
        )
        if self.ready:
            services.stores.succeed(self.stores)
            if self.arms is not None:
                services.arms.succeed(self.arms)
            services.intake.succeed(self.intake)
            services.answerer.succeed(self.answerer)
        if self.stores.storage is not None and isinstance(services.flags, FlagStore):
            services.flags.attach(self.stores.storage)
            await services.flags.load()
        return services
