"""An application over fakes, and a client inside the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from apps.api.main import create_app
from apps.core.settings import Settings
from tests.fakes.services import World

Client = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def world() -> World:
    """The fakes behind the application."""
    return World()


@pytest.fixture
def settings() -> Settings:
    """Development on this machine."""
    return Settings()


@asynccontextmanager
async def serving(
    app: FastAPI, *, peer: str = "127.0.0.1", base: str = "http://localhost"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` whose address is `peer`."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 5000))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            yield client


@pytest.fixture
async def client(world: World, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client on this machine without a key."""
    async with serving(create_app(settings, opening=world.opening)) as opened:
        yield opened
