"""Which workers already answer with a version of the flags."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from apps.core.domain.ports import Clock
from apps.core.storage import flag_acks
from apps.core.storage.engine import Storage

LOOK_S = 0.02
# A look that began in time may take so long, or a busy database would look like one that is away.
LAST_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Acked:
    """Who of the workers that are alive has switched, after how many ms, and who has not."""

    switched: Mapping[str, float]
    missing: tuple[str, ...]
    elapsed_ms: float

    @property
    def acked(self) -> int:
        """How many have switched."""
        return len(self.switched)

    @property
    def expected(self) -> int:
        """How many are alive."""
        return len(self.switched) + len(self.missing)

    def as_json(self) -> dict[str, object]:
        """For a program."""
        return {
            "acked": self.acked,
            "expected": self.expected,
            "elapsed_ms": round(self.elapsed_ms, 1),
            "switched": {worker: round(ms, 1) for worker, ms in self.switched.items()},
            "missing": list(self.missing),
        }


async def wait_for(storage: Storage, version: int, *, clock: Clock, limit_s: float = 2.0) -> Acked:
    """Wait until every live worker answers with `version` or a newer one, or time is up."""
    started_s = clock.monotonic()
    seen: dict[str, float] = {}
    while True:
        left_s = max(limit_s - (clock.monotonic() - started_s), LAST_LOOK_S)
        async with storage.reading(within_s=left_s) as s:
            live = await flag_acks.live(s)
        missing = tuple(ack.worker_id for ack in live if ack.version < version)
        spent_s = clock.monotonic() - started_s
        here = [ack.worker_id for ack in live if ack.version >= version]
        seen = {worker: seen.get(worker, spent_s * 1000) for worker in here}
        if not missing or spent_s >= limit_s:
            return Acked(seen, missing, spent_s * 1000)
        await asyncio.sleep(LOOK_S)
