"""The lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from apps.api.services import Services
from apps.core.settings import Settings


@asynccontextmanager
async def services(settings: Settings) -> AsyncIterator[Services]:
    """Placeholder."""
    raise NotImplementedError
    yield
