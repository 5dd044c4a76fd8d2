"""A worker that kills itself: `python -m tests.ingestion.crash_process HOME [POINT]`.

It works on the queue of HOME until it is empty, or dies by SIGKILL when POINT is reached.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps.core import settings as settings_module
from apps.core.storage.engine import Storage
from apps.core.wiring import SystemClock
from apps.ingestion.wiring import open_ingestion
from tests.fakes.embedder import HashedEmbedder

# Where to die: module, name, before or after the call, which call.
POINTS: dict[str, tuple[str, str, str, int]] = {
    "first document, nothing stored": ("apps.ingestion.intake", "store", "before", 1),
    "fourth document, in its transaction": ("apps.ingestion.intake", "store", "after", 4),
    "within a file of many documents": ("apps.ingestion.intake", "prepare", "before", 40),
    "after a transaction": ("apps.core.storage.job_items", "next_of", "before", 3),
    "before the index is published": ("apps.ingestion.build", "publish", "before", 1),
    "while the index is written": ("apps.core.artifacts.versions", "finish", "before", 1),
    "after the index is published": ("apps.ingestion.build", "publish", "after", 1),
    "before the job is done": ("apps.core.storage.jobs", "finish", "before", 1),
    "before vectors are stored": ("apps.core.storage.documents", "put_vectors", "before", 2),
    "after vectors are stored": ("apps.core.storage.jobs", "advance", "after", 4),
    "before vectors are published": ("apps.ingestion.build", "set_vectors", "before", 1),
    "after vectors are published": ("apps.ingestion.build", "set_vectors", "after", 1),
}


def plant(point: str) -> None:
    """Make this process die at `point`."""
    module_name, name, when, number = POINTS[point]
    module = importlib.import_module(module_name)
    calls = [0]

    def die_if(moment: str) -> None:
        if moment == when:
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, name, _around(getattr(module, name), die_if))


def _around(original: Callable[..., Any], die_if: Callable[[str], None]) -> Callable[..., Any]:
    async def waits(*args: object, **kwargs: object) -> object:
        die_if("before")
        result = await original(*args, **kwargs)
        die_if("after")
        return result

    def computes(*args: object, **kwargs: object) -> object:
        die_if("before")
        result = original(*args, **kwargs)
        die_if("after")
        return result

    return waits if inspect.iscoroutinefunction(original) else computes


async def work(home: Path) -> None:
    """Work until nothing is left."""
    url = f"sqlite+aiosqlite:///{home / 'dtrag.db'}"
    settings = settings_module.load({}, DTRAG_HOME=home, DATABASE_URL=url)
    storage = await Storage.open(settings)
    service = open_ingestion(
        settings, storage=storage, embedder=HashedEmbedder(), clock=SystemClock()
    )
    async with service:
        await service.drain()
    await storage.close()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        plant(sys.argv[2])
    asyncio.run(work(Path(sys.argv[1])))
