"""Which workers already answer with a version of the flags."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from apps.core.domain.ports import Clock
from apps.core.storage import flag_acks
from apps.core.storage.engine import Storage

LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Acked:
    """How many of the workers that are alive have switched, and who has not."""

    acked: int
    expected: int
    elapsed_ms: float
    missing: tuple[str, ...]


async def wait_for(storage: Storage, version: int, *, clock: Clock, limit_s: float = 2.0) -> Acked:
    """Wait until every live worker answers with `version` or a newer one, or time is up."""
    started_s = clock.monotonic()
    while True:
        async with storage.reading() as s:
            live = await flag_acks.live(s)
        missing = tuple(ack.worker_id for ack in live if ack.version < version)
        spent_s = clock.monotonic() - started_s
        if not missing or spent_s >= limit_s:
            return Acked(len(live) - len(missing), len(live), spent_s * 1000, missing)
        await asyncio.sleep(LOOK_S)
