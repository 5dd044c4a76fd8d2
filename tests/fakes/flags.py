"""A store of flags that a test turns by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.core.domain.flags import Flag
from apps.core.flags.catalogue import CATALOGUE, Environment
from apps.core.flags.snapshot import FlagWorld, Snapshot
from apps.core.flags.stored import world_of
from apps.core.storage import flags as stored_flags
from apps.core.storage.engine import Storage


@dataclass
class FakeFlagStore:
    """Reads SQL when it is told to; without a storage it only knows what a test gives it."""

    storage: Storage | None = None
    flags: Sequence[Flag] = CATALOGUE
    environment: Environment = field(default_factory=lambda: Environment({}, {}))
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(FlagWorld(flags=CATALOGUE)))
    worker_id: str = "here:1"
    host: str = "here"

    async def reload(self) -> int:
        if self.storage is not None:
            async with self.storage.reading() as s:
                table = await stored_flags.load_flags(s)
            world = world_of(table, flags=self.flags, environment=self.environment)
            self.snapshot = Snapshot(world)
        return self.snapshot.version

    async def kill_locally(self, keys: frozenset[str]) -> None:
        local = self.snapshot.world.local_kill | keys
        self.snapshot = self.snapshot.changed(local_kill=local)
