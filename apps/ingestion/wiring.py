"""Opens ingestion for the server and the command line alike."""

from __future__ import annotations

from apps.core.domain.ports import Clock, Embedder
from apps.core.settings import Settings
from apps.core.storage.engine import Storage
from apps.ingestion.service import Ingestion


def open_ingestion(
    settings: Settings, *, storage: Storage, embedder: Embedder | None, clock: Clock
) -> Ingestion:
    """Ingestion into the index of `settings`; close it, or use it in an `async with`."""
    return Ingestion(storage, settings, settings.artifacts_dir, embedder, clock)
