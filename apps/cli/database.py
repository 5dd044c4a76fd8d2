"""The database as a command needs it: migrated, open, and closed again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from apps.core.settings import Settings

if TYPE_CHECKING:
    from apps.core.storage.engine import Storage


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator[Storage]:
    """Open the database of `settings`, with the schema brought up to date."""
    from apps.core.storage.engine import Storage  # noqa: PLC0415 - SQLAlchemy costs a second
    from apps.core.storage.migrate import upgrade  # noqa: PLC0415

    await asyncio.to_thread(upgrade, settings.database_url)
    storage = await Storage.open(settings)
    try:
        yield storage
    finally:
        await storage.close()
