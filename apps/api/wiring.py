"""The lifespan: the port opens at once, the rest loads behind it and closes in reverse.

Order: index (a search needs nothing else), then SQL with the keys, then ingestion, then the
answerer with LangGraph and the models. Imports that cost more than 0.1 s happen in threads.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from apps.api.caches import Caches, SharedSearch
from apps.api.orphan import leaving_with_parent
from apps.api.ratelimit import Limiter
from apps.api.runs import Runs
from apps.api.services import Part, Services
from apps.api.usage import UsageCounter
from apps.core import wiring
from apps.core.domain.ports import Clock, Embedder, Reranker
from apps.core.errors import DtRagError, StorageDown, SystemFailure
from apps.core.flags.store import FlagStore
from apps.core.settings import Settings

if TYPE_CHECKING:
    from apps.api.sql import Sql
    from apps.core.flags.controller import Controller
    from apps.ingestion.service import Ingestion
    from apps.orchestration.pipeline import AnswerPipeline

T = TypeVar("T")
FOLLOW_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
log = structlog.get_logger(__name__)


@asynccontextmanager
async def services(settings: Settings) -> AsyncIterator[Services]:
    """Everything that the routes use, from now until the end of the process."""
    wiring.configure_logs(settings)
    async with AsyncExitStack() as closing:
        loader = Loader(settings, closing)
        closing.enter_context(reloading_on_hangup(loader.flags))
        closing.enter_context(leaving_with_parent())
        loading = asyncio.create_task(loader.run())
        try:
            yield loader.services
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)


@contextmanager
def reloading_on_hangup(flags: FlagStore) -> Iterator[None]:
    """Let SIGHUP to this process read the flags anew, where signals can be caught."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            log.info("flags.reloaded", version=await flags.reload(), by="SIGHUP")
        except StorageDown as error:
            log.warning("flags.not_reloaded", error=error.detail, by="SIGHUP")

    def hung_up() -> None:
        task = loop.create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    try:
        loop.add_signal_handler(signal.SIGHUP, hung_up)
    except (ValueError, RuntimeError, NotImplementedError):  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


class Loader:
    """Makes the services and fills their parts in the background."""

    def __init__(self, settings: Settings, closing: AsyncExitStack) -> None:
        clock = wiring.SystemClock()
        self.settings = settings
        self.closing = closing
        self.clock = clock
        self.generations = Generations()
        self.indexed = asyncio.Event()
        self.usage = UsageCounter()
        self.flags = FlagStore(settings, clock=clock)
        self.embedder: Embedder | None = wiring.open_embedder(settings)
        searching = wiring.open_search(
            settings, embedder=self.embedder, reranker=_reranker(settings, clock)
        )
        self.search = SharedSearch(searching, self.generations.newest)
        cache = wiring.open_cache(settings, clock=clock, generation=self.generations)
        closing.push_async_callback(cache.close)
        self.caches = Caches(cache, self.search)
        self.services = Services(
            settings=settings,
            clock=clock,
            started_s=clock.monotonic(),
            searcher=self.search,
            index=self.search,
            cache=self.caches,
            limiter=Limiter(clock),
            runs=Runs(clock),
            usage=self.usage,
            flags=self.flags,
            stores=Part("database"),
            arms=Part("arms"),
            intake=Part("ingestion"),
            answerer=Part("answerer"),
        )

    async def run(self) -> None:
        """Load everything, then keep what must be kept going until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_index())
            group.create_task(self._warm_embedder())
            group.create_task(kept_going("flags", self.flags.run))
            group.create_task(self._load(group))

    async def _load(self, group: asyncio.TaskGroup) -> None:
        # Searches come first: what answers need takes seconds to import.
        await self._refresh()
        group.create_task(asyncio.to_thread(self.search.compile))
        services = self.services
        sql = await loaded(services.stores, self._open_sql)
        arms = sql.arms(self.flags, self.flags.nodes)
        services.arms.succeed(arms)
        group.create_task(kept_going("keys", sql.ring.follow))
        group.create_task(kept_going("usage", partial(self.usage.write_forever, sql.count_use)))
        group.create_task(kept_going("arms", partial(arms.run, sql.storage)))
        group.create_task(kept_going("rollouts", await self._open_controller(sql)))
        group.create_task(self._ingest(sql))
        answerer = await loaded(services.answerer, partial(self._open_answerer, sql))
        group.create_task(kept_going("runs", partial(sql.runs.work, answerer)))
        # The first question should not pay for importing a provider's kit.
        await answerer.models.warm()
        # What is loaded by now stays, so the collector need not look at it again and again.
        gc.freeze()
        log.info("service.loaded", after_s=round(self.clock.monotonic() - services.started_s, 2))

    async def _ingest(self, sql: Sql) -> None:
        intake = await loaded(self.services.intake, partial(self._open_intake, sql))
        await self._refresh()
        if self.search.version is None:
            # A new installation has nothing to find, which is no reason not to be ready; and an
            # index that was lost is written again from the database.
            await loaded(Part("index"), intake.rebuild)
            await self._refresh()
        await kept_going("ingestion", intake.run_forever)

    async def _open_sql(self) -> Sql:
        module = await asyncio.to_thread(importlib.import_module, "apps.api.sql")
        # What was opened by an attempt that fails is closed before the next one.
        async with AsyncExitStack() as failing:
            sql: Sql = await module.Sql.open(self.settings, self.clock)
            failing.push_async_callback(sql.close)
            for key_id, used in (await sql.used_today()).items():
                self.services.limiter.used_today(key_id, used)
            self.flags.attach(sql.storage, sql.watch, bell=wiring.open_bell(self.settings))
            failing.push_async_callback(self.flags.detach)
            await self.flags.load()
            self.closing.push_async_exit(failing.pop_all())
        self.generations.source = sql.generation
        self.caches.shared(sql.bump_cache)
        await self._offer_flags()
        return sql

    async def _offer_flags(self) -> None:
        if not self.settings.DTRAG_OPENFEATURE:
            return
        try:
            module = await asyncio.to_thread(
                importlib.import_module, "apps.core.flags.openfeature_door"
            )
        except ImportError:
            log.warning("flags.not_offered", error="The extra `openfeature` is not installed.")
            return
        self.closing.callback(await asyncio.to_thread(module.register, self.flags, self.clock))

    async def _open_controller(self, sql: Sql) -> Callable[[], Awaitable[None]]:
        module = await asyncio.to_thread(importlib.import_module, "apps.core.flags.controller")
        worker_id = self.flags.worker_id
        controller: Controller = module.Controller(sql.storage, self.clock, worker_id)
        return controller.run

    async def _open_intake(self, sql: Sql) -> Ingestion:
        module = await asyncio.to_thread(importlib.import_module, "apps.ingestion.wiring")
        # An embedder of its own: a question must not wait until a passage is embedded.
        embedder = wiring.open_embedder(self.settings)
        opening = module.open_ingestion(
            self.settings, storage=sql.storage, embedder=embedder, clock=self.clock
        )
        intake: Ingestion = await self.closing.enter_async_context(opening)
        return intake

    async def _open_answerer(self, sql: Sql) -> AnswerPipeline:
        module = await asyncio.to_thread(importlib.import_module, "apps.orchestration.wiring")
        answerer: AnswerPipeline = await asyncio.to_thread(
            module.open_pipeline,
            self.settings,
            search=self.search,
            cache=self.caches.cache,
            record=sql.record,
            clock=self.clock,
            flags=self.flags,
            arms=self.services.arms.value,
        )
        # A new installation has no index for a moment; an early question waits for it too.
        await self.indexed.wait()
        return answerer

    async def _follow_index(self) -> None:
        while True:
            await self._refresh()
            await asyncio.sleep(FOLLOW_S)

    async def _refresh(self) -> None:
        # In a thread: a new version is verified before it is served.
        await asyncio.to_thread(self.search.refresh)
        if self.search.version is not None:
            self.indexed.set()

    async def _warm_embedder(self) -> None:
        if self.embedder is None:
            return
        try:
            await asyncio.to_thread(self.embedder.queries, ["warm"])
        except DtRagError as error:
            log.warning("embedder.not_ready", error=error.detail)


def _reranker(settings: Settings, clock: Clock) -> Reranker | None:
    if not settings.DTRAG_RERANKER:
        return None  # the first search need not wait for what nobody will call
    module = importlib.import_module("apps.orchestration.reranking")
    opened: Reranker | None = module.open_reranker(settings, clock=clock)
    return opened


class Generations:
    """The cache's generation: 0 until SQL can tell."""

    def __init__(self) -> None:
        self.source: Callable[[], int] | None = None

    def newest(self) -> int:
        """Grows with every clear."""
        return 0 if self.source is None else self.source()

    def __call__(self, region: str) -> int:
        """One for all regions, because a clear is rare."""
        return self.newest()


async def loaded(part: Part[Any], step: Callable[[], Awaitable[T]]) -> T:
    """Take `step` until it succeeds; meanwhile the part tells why it does not."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            value = await step()
        except DtRagError as error:
            log.warning("part.failed", part=part.name, error=error.detail)
            part.fail(error)
        except Exception:
            log.exception("part.failed", part=part.name)
            part.fail(SystemFailure(f"The {part.name} cannot be loaded; see the log."))
        else:
            part.succeed(value)
            return value
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def kept_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do endless work; start it again when it fails."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("work.failed", work=name)
        await asyncio.sleep(FIRST_PAUSE_S)
