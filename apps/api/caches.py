"""What is kept from earlier requests, emptied together: found passages and finished answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from apps.api.ports import RedisState
from apps.core.cache import Cache
from apps.core.domain.models import SearchQuery, SearchResult
from apps.core.retrieval.search import Search
from apps.core.telemetry import traces

Bump = Callable[[], Awaitable[None]]


class SharedSearch:
    """A search that forgets its results when any worker has cleared the cache.

    Args:
        search: remembers results by index version.
        generation: grows with every clear, in any worker; asked at every search.
    """

    def __init__(self, search: Search, generation: Callable[[], int]) -> None:
        self._search = search
        self._generation = generation
        self._seen = generation()

    @property
    def version(self) -> str | None:
        """The open version's id; None while none is open."""
        return self._search.version

    @property
    def passages(self) -> int:
        """How many it holds."""
        return self._search.passages

    @property
    def vectors(self) -> int:
        """How many of them have a vector."""
        return self._search.vectors

    @property
    def refused(self) -> str | None:
        """Why the newest version is not served; None when it is."""
        return self._search.refused

    async def search(self, query: SearchQuery) -> SearchResult:
        """Find the best passages; see `Search`."""
        generation = self._generation()
        if generation != self._seen:
            self._seen = generation
            self._search.forget()
        with traces.begin("search") as span:
            result = await self._search.search(query)
            if span.recorded:
                span.note(_facts(result))
            return result

    def compile(self) -> None:
        """Load the compiled loops; see `Search`."""
        self._search.compile()

    def refresh(self) -> bool:
        """Follow the newest version; see `Search`."""
        return self._search.refresh()

    def forget(self) -> None:
        """Forget every result of this process."""
        self._search.forget()


def _facts(result: SearchResult) -> traces.Facts:
    return {
        "dtrag.search.mode": result.mode,
        "dtrag.search.hits": len(result.hits),
        "dtrag.search.candidates": result.total_candidates,
        "dtrag.search.cached": result.cached,
        "dtrag.search.degraded": ",".join(result.degraded),
        "dtrag.index_version": result.index_version,
    }


class Caches:
    """The administration of both.

    Args:
        cache: of answers, in this process and in Redis.
        search: remembers results by index version.
    """

    def __init__(self, cache: Cache, search: SharedSearch) -> None:
        self.cache = cache
        self._search = search
        self._bump: Bump | None = None

    def shared(self, bump: Bump) -> None:
        """From now on, tell the other workers of a clear through `bump`."""
        self._bump = bump

    async def redis_state(self) -> RedisState:
        """Whether the second level takes part."""
        return await self.cache.redis_state()

    def stats(self) -> Mapping[str, object]:
        """What was counted since the start of this process."""
        return self.cache.stats()

    async def clear(self, prefix: str = "") -> int:
        """Forget answers whose key begins so, here and in the other workers, and all results."""
        cleared = await self.cache.clear(prefix)
        self._search.forget()
        if self._bump is not None:
            await self._bump()
        return cleared
