"""What runs beside the requests: watching, confirming, acknowledging, reporting."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from watchfiles import awatch

from apps.core.domain.ports import Clock
from apps.core.errors import StorageDown
from apps.core.telemetry import metrics

if TYPE_CHECKING:
    from apps.core.flags.store import FlagStore
    from apps.core.flags.truth import Truth

# An idle worker learns of a change that late; a busy one asks at every request.
WATCH_S = 0.05
CONFIRM_S = 1.0
QUIET_MS = 20
STALE_S = 5.0
# Each change is acknowledged at once, in a storm of changes 20 times a second; without a change
# the sign of life must come well before a worker counts as silent.
ACK_GAP_S = 0.05
SIGN_OF_LIFE_S = 5.0

log = structlog.get_logger(__name__)


class Upkeep:
    """The endless work of one store."""

    def __init__(self, store: FlagStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Do it until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                group.create_task(self._hear_files())
                group.create_task(self._confirm())
                group.create_task(self._acknowledge())
                group.create_task(self._listen())
        finally:
            self._store.tally.flush()

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(WATCH_S)

    async def _hear_files(self) -> None:
        """Look as soon as the kernel tells of the env file; `_watch` asks where it cannot."""
        directory = self._store.files.directory
        if directory is None:
            return
        told = awatch(directory, recursive=False, step=QUIET_MS, debounce=4 * QUIET_MS)
        try:
            async for _ in told:
                await self.look()
                # A file that is being written moves once more within this time.
                await asyncio.sleep(QUIET_MS / 1000)
                await self.look()
        except (OSError, RuntimeError) as error:
            log.info("flags.directory_not_watched", error=type(error).__name__)

    async def _confirm(self) -> None:
        while True:
            await self.confirm()
            await asyncio.sleep(CONFIRM_S)

    async def _acknowledge(self) -> None:
        store = self._store
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SIGN_OF_LIFE_S):
                    await store.changed.wait()
            store.changed.clear()
            if not await self.acknowledge():
                store.changed.set()
                await asyncio.sleep(CONFIRM_S)
            await asyncio.sleep(ACK_GAP_S)

    async def _listen(self) -> None:
        await self._store.attached.wait()
        if self._store.bell is not None:
            await self._store.bell.listen(self.heard)

    async def heard(self, version: int) -> None:
        """Read SQL if somebody runs a newer version."""
        if version > self._store.snapshot.version:
            with contextlib.suppress(StorageDown):
                await self._store.load()

    async def look(self) -> None:
        """See what has moved: files, and what the change watch was told."""
        store = self._store
        if store.files.look(store.known):
            store.take_files()
        await store.fresh()

    async def confirm(self) -> None:
        """Ask files and database themselves, in case nothing told; tell how old the answer is."""
        store = self._store
        store.tally.flush()
        if store.files.compare(store.known):
            store.take_files()
        if store.truth is None:
            return
        try:
            if await store.truth.version() > store.snapshot.version:
                await store.load()
            store.confirm()
            await self._report(store.truth)
        except StorageDown as error:
            log.debug("flags.not_confirmed", error=error.detail)
        metrics.flag_snapshot_age_s.set(store.age_s)
        store.judge_age(STALE_S)

    async def acknowledge(self) -> bool:
        """Say which version is served; False when the database could not be told."""
        store = self._store
        if store.truth is None:
            return True
        if store.bell is not None:
            await store.bell.ring(store.snapshot.version)
        try:
            await store.truth.acknowledge(
                store.worker_id,
                store.host,
                version=store.snapshot.version,
                vetoes=store.vetoes,
                report=store.report(),
            )
        except StorageDown as error:
            log.debug("flags.not_acknowledged", error=error.detail)
            return False
        return True

    async def _report(self, truth: Truth) -> None:
        store = self._store
        while store.files.unreported:
            reading = store.files.unreported[0]
            now = self._clock.now()
            await truth.record(store.host, reading, actor=store.worker_id, now=now)
            if reading in store.files.unreported:  # else a newer one has taken its place
                store.files.unreported.remove(reading)
