"""Opens ingestion for the server and the command line alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from apps.core.domain.ports import Clock, Embedder
from apps.core.settings import Settings
from apps.core.storage.engine import Storage
from apps.ingestion.service import Ingestion


@asynccontextmanager
async def open_ingestion(
    settings: Settings, *, storage: Storage, embedder: Embedder | None, clock: Clock
) -> AsyncIterator[Ingestion]:
    """Ingestion into the index of `settings`; its parser process ends with the block."""
    opened = Ingestion(storage, settings, settings.artifacts_dir, embedder, clock)
    try:
        yield opened
    finally:
        await opened.close()
