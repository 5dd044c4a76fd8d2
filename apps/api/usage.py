"""How often each key is used: counted in memory, written once a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import structlog

from apps.core.errors import DtRagError

WRITE_S = 1.0
Write = Callable[[Mapping[str, int]], Awaitable[None]]
log = structlog.get_logger(__name__)


class UsageCounter:
    """Counts behind the response; a crash may lose the last second."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, key_id: str) -> None:
        """One more request."""
        self._counts[key_id] += 1

    async def write(self, write: Write) -> None:
        """Hand over what was counted; it is kept when the database is away."""
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            await write(counts)
        except DtRagError as error:
            self._counts.update(counts)
            log.warning("usage.not_written", code=error.code)

    async def write_forever(self, write: Write) -> None:
        """Hand over once a second, and once more at the end."""
        try:
            while True:
                await asyncio.sleep(WRITE_S)
                await self.write(write)
        finally:
            await self.write(write)
