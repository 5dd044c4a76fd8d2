"""What the routes work with: services that are there at once, and parts that load behind them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from starlette.requests import HTTPConnection

from apps.api.ports import Answerer, AnyCache, Arms, Flags, Index, Intake, Usage
from apps.api.ratelimit import Limiter
from apps.api.runs import Runs
from apps.api.store_ports import Stores
from apps.core.domain.ports import Clock, Searcher
from apps.core.errors import DtRagError
from apps.core.settings import Settings

T = TypeVar("T")


class Part(Generic[T]):
    """A service that loads while the port is already open.

    Who needs it while it loads waits for it, within the request's own deadline. Who needs it
    after it failed gets the failure at once; a later success mends it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: DtRagError | None = None
        self._value: T | None = None
        self._settled = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether `get` returns without waiting."""
        return self._value is not None

    @property
    def value(self) -> T | None:
        """The service, or None while there is none."""
        return self._value

    def succeed(self, value: T) -> None:
        """Hand out the service from now on."""
        self._value, self.error = value, None
        self._settled.set()

    def fail(self, error: DtRagError) -> None:
        """Refuse with `error` until a success."""
        self._value, self.error = None, error
        self._settled.set()

    async def get(self) -> T:
        """The service, as soon as there is one.

        Raises:
            DtRagError: what kept it from loading.
        """
        if self._value is not None:
            return self._value
        await self._settled.wait()
        if self._value is None:
            raise self.error or RuntimeError(f"{self.name} settled as nothing")
        return self._value


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a route may use.

    searcher, index: the same open index version; there from the first request on.
    flags: decided by the environment and the host's files until SQL is there.
    stores: SQL, a second later; arms, intake and answerer after it.
    """

    settings: Settings
    clock: Clock
    started_s: float
    searcher: Searcher
    index: Index
    cache: AnyCache
    limiter: Limiter
    runs: Runs
    usage: Usage
    flags: Flags
    stores: Part[Stores]
    arms: Part[Arms]
    intake: Part[Intake]
    answerer: Part[Answerer]


def services_of(request: HTTPConnection) -> Services:
    """What the lifespan has put into the application."""
    return cast(Services, request.scope["app"].services)
