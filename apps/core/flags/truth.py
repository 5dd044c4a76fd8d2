"""SQL as a worker's flags see it: read, watched, and told what the worker runs."""

from __future__ import annotations

from apps.core.flags.sources import Reading
from apps.core.storage import flag_acks, flag_files, flag_versions
from apps.core.storage.changes import Watch
from apps.core.storage.engine import Storage
from apps.core.storage.flag_acks import Ack
from apps.core.storage.flag_audit import Facts
from apps.core.storage.flag_files import HostFile
from apps.core.storage.flags import FlagTable, load_flags

ANSWER_TIMEOUT_S = 2.0


class Truth:
    """The database of one worker's flags; every call ends within 2 s or raises StorageDown."""

    def __init__(self, storage: Storage, watch: Watch | None) -> None:
        self._storage = storage
        self._watch = watch

    def moved_to(self) -> int:
        """How often flags have changed, as far as this process was told; microseconds."""
        return self._watch.version(flag_versions.TOPIC) if self._watch else 0

    async def load(self) -> FlagTable:
        """All flags in one state."""
        async with self._storage.reading(within_s=ANSWER_TIMEOUT_S) as s:
            return await load_flags(s)

    async def version(self) -> int:
        """The newest version, asked of the database itself."""
        async with self._storage.reading(within_s=ANSWER_TIMEOUT_S) as s:
            return (await flag_versions.read(s)).version

    async def acknowledge(
        self, worker: str, host: str, *, version: int, vetoes: tuple[str, ...], report: Facts
    ) -> None:
        """Say which version a worker answers with, and what only it can see."""
        async with self._storage.session(within_s=ANSWER_TIMEOUT_S, alone=True) as s:
            await flag_acks.put(s, Ack(worker, host, version, vetoes, report))

    async def forget(self, worker_id: str) -> None:
        """Take the worker out of the list."""
        async with self._storage.session(within_s=ANSWER_TIMEOUT_S) as s:
            await flag_acks.remove(s, worker_id)

    async def record(self, host: str, reading: Reading, *, actor: str, now: float) -> None:
        """Audit what a file says, unless another worker of the host was first."""
        changed_at = reading.changed_at or now
        read = HostFile(host, reading.source, reading.sha256, reading.content, changed_at)
        async with self._storage.session(within_s=ANSWER_TIMEOUT_S) as s:
            await flag_files.record(s, read, actor=actor, now=now)
