"""The flags of one process: the newest snapshot, and how it stays the newest.

SQL is the truth; the env file and the KILL file of the host count beside it. What cannot be read
keeps its last known good values, never the defaults. A decision reads nothing but memory.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from apps.core.domain.flags import Flag
from apps.core.domain.models import AnswerRequest
from apps.core.domain.ports import Clock
from apps.core.errors import PrerequisiteCycle, StorageDown, SystemFailure
from apps.core.flags.catalogue import CATALOGUE
from apps.core.flags.context import FlagContext, context_of
from apps.core.flags.evaluation import Evaluation
from apps.core.flags.node_watch import NodeWatch
from apps.core.flags.signs import report
from apps.core.flags.snapshot import FlagWorld, Snapshot
from apps.core.flags.sources import FlagFiles
from apps.core.flags.tally import EvaluationTally
from apps.core.flags.upkeep import Upkeep
from apps.core.flags.worlds import changed_keys, compiled
from apps.core.settings import Settings

if TYPE_CHECKING:
    from apps.core.bell import Bell
    from apps.core.flags.truth import Truth
    from apps.core.storage.changes import Watch
    from apps.core.storage.engine import Storage

# A request waits no longer for a change; it is then decided as last known.
FRESH_S = 0.2
REST_S = 1.0
HOST_CHARS = 60

Told = Callable[[Snapshot, frozenset[str]], None]
log = structlog.get_logger(__name__)


class FlagStore:
    """Implements FlagDecider; one for each process.

    Attributes:
        snapshot: the newest one; it never goes back to an older version.
        stale: the database has not confirmed the version for 5 s.
        host, worker_id: how acknowledgements name this process.
        nodes: how the nodes of flags do in this process; whoever ends requests tells it.
    """

    def __init__(self, settings: Settings, *, clock: Clock, flags: Sequence[Flag] = ()) -> None:
        """Decide by the environment and the host's files until SQL is attached.

        Args:
            settings: the words of the environment and where the files are.
            clock: the time that rules see, and durations.
            flags: that the code declares besides the catalogue's.

        Raises:
            SystemFailure: flags that the code declares wait for each other.
        """
        self.host = socket.gethostname()
        self.worker_id = f"{self.host[:HOST_CHARS]}:{os.getpid()}"
        self.stale = False
        self.files = FlagFiles(settings)
        self.tally = EvaluationTally()
        self.truth: Truth | None = None
        self.bell: Bell | None = None
        self.attached = asyncio.Event()
        self.changed = asyncio.Event()
        self.nodes = NodeWatch(self.changed.set)
        self._clock = clock
        self._listeners: list[Told] = []
        self._stale_listeners: list[Callable[[str], None]] = []
        self._applied = -1
        self._loading: asyncio.Task[None] | None = None
        self._rests_until_s = self._confirmed_s = clock.monotonic()
        self.snapshot = Snapshot(FlagWorld())
        self.declare((*CATALOGUE, *flags))
        for warning in self.files.environment.warnings:
            log.warning("flags.names_differ", warning=warning)

    def decide(self, context: FlagContext) -> Evaluation:
        """All flags for one request; microseconds, never raises."""
        evaluation = self.snapshot.evaluate_all(context)
        self.tally.add(evaluation)
        return evaluation

    def evaluate_all(self, request: AnswerRequest | None) -> Evaluation:
        """All flags for a question; without one, for nobody."""
        return self.decide(context_of(request, timestamp=int(self._clock.now())))

    def is_killed(self, key: str) -> bool:
        """Whether a node must be skipped now, also in an answer that began before the kill."""
        return self.snapshot.is_killed(key)

    def declare(self, flags: Sequence[Flag]) -> None:
        """Add flags of the code; one that is declared again replaces the first.

        Raises:
            SystemFailure: flags wait for each other, a mistake in the code.
        """
        declared = {flag.key: flag for flag in (*self.snapshot.world.flags, *flags)}
        world = replace(self.snapshot.world, flags=tuple(declared.values()))
        try:
            self._swap(Snapshot(world.under(self.files.said)))
        except PrerequisiteCycle as error:
            raise SystemFailure(error.detail) from error

    def attach(
        self, storage: Storage, watch: Watch | None = None, *, bell: Bell | None = None
    ) -> None:
        """Count SQL from the next `fresh`, `reload` or `run` on.

        Args:
            storage: a migrated database.
            watch: tells of changes at once; without one they are seen once a second.
            bell: brings news through Redis, maybe sooner.
        """
        # Imported late: a search may be asked for before SQLAlchemy is loaded.
        from apps.core.flags.truth import Truth  # noqa: PLC0415

        self.truth, self.bell = Truth(storage, watch), bell
        self.attached.set()
        self._applied = -1
        self.confirm()

    async def detach(self) -> None:
        """Leave the list of workers and keep what is known, before the database is closed."""
        truth, self.truth = self.truth, None
        if self.bell is not None:
            await self.bell.close()
        if self._loading is not None:
            await asyncio.wait({self._loading})
        if truth is not None:
            try:
                await truth.forget(self.worker_id)
            except StorageDown as error:
                log.info("flags.not_forgotten", error=error.detail)

    async def fresh(self) -> None:
        """Take in every change this process was told of; at most 0.2 s, never raises.

        Called at the admission of every request; without a change it costs microseconds.
        """
        truth, end_s = self.truth, self._clock.monotonic() + FRESH_S
        while truth is not None and truth.moved_to() > self._applied:
            now_s = self._clock.monotonic()
            if now_s >= end_s or now_s < self._rests_until_s:
                return
            if self._loading is None or self._loading.done():
                # Shared by all who wait, and not cancelled with one of them.
                self._loading = asyncio.create_task(self.load(), name="flags-load")
                self._loading.add_done_callback(self._loaded)
            await asyncio.wait({self._loading}, timeout=end_s - now_s)

    async def reload(self) -> int:
        """Read both files and SQL now; return the snapshot's version.

        Raises:
            StorageDown: the database is away; what the files say counts nevertheless.
        """
        self.files.read(self.known)
        self.take_files()
        await self.load()
        return self.snapshot.version

    async def kill_locally(self, keys: frozenset[str], note: str = "") -> bool:
        """Skip flags on this host from now on, `*` for all, until its KILL file is changed.

        Args:
            keys: of flags.
            note: who and why, for whoever finds the file.

        Returns:
            Whether the file could be written; else only this process skips them.
        """
        written = await asyncio.to_thread(self.files.kill, keys, note)
        self.take_files()
        return written

    async def run(self) -> None:
        """Keep everything up to date until cancelled."""
        await Upkeep(self, self._clock).run()

    def subscribe(self, told: Told) -> Callable[[], None]:
        """Have `told` called after each change with the new snapshot and the changed keys.

        Returns:
            What ends the subscription.
        """
        self._listeners.append(told)
        return lambda: self._listeners.remove(told)

    def when_stale(self, told: Callable[[str], None]) -> Callable[[], None]:
        """Have `told` called with a sentence when the database stays silent, and with an empty
        text when it answers again; as `subscribe`.
        """
        self._stale_listeners.append(told)
        return lambda: self._stale_listeners.remove(told)

    def judge_age(self, limit_s: float) -> None:
        """Become stale, or end that, and tell who wants to know."""
        stale, age_s = self.age_s > limit_s, round(self.age_s, 1)
        if stale == self.stale:
            return
        self.stale = stale
        if stale:
            log.warning("flags.stale", event_type="PROVIDER_STALE", age_s=age_s)
        else:
            log.info("flags.confirmed_again", event_type="PROVIDER_READY")
        why = f"The database has not confirmed the flags for {age_s} s." if stale else ""
        for told in tuple(self._stale_listeners):
            told(why)

    @property
    def known(self) -> frozenset[str]:
        """Keys of all flags, which a variable may name."""
        return frozenset(self.snapshot.keys)

    @property
    def vetoes(self) -> tuple[str, ...]:
        """Keys of the flags that this host's environment forbids."""
        words = self.snapshot.world.environment
        return tuple(sorted(key for key, word in words.items() if word == "false"))

    def report(self) -> dict[str, Any]:
        """What only this worker can see, for SQL."""
        return report(self.snapshot.world.said, self.nodes.signs())

    @property
    def age_s(self) -> float:
        """Since the database last confirmed the version; 0 while there is no database."""
        return self._clock.monotonic() - self._confirmed_s if self.truth else 0.0

    def confirm(self) -> None:
        """Note that the database has just answered."""
        self._confirmed_s = self._clock.monotonic()

    def take_files(self) -> None:
        """Count what the files were last seen to say."""
        self._put(self.snapshot.world.under(self.files.said))

    async def load(self) -> None:
        """Read SQL; a version that is older than ours is ignored.

        Raises:
            StorageDown: the database is away.
        """
        if self.truth is None:
            return
        from apps.core.flags.stored import world_of  # noqa: PLC0415 - needs SQLAlchemy

        moved_to = self.truth.moved_to()
        table = await self.truth.load()
        self.confirm()
        if table.version >= self.snapshot.version:
            self._put(
                world_of(
                    table,
                    flags=self.snapshot.world.flags,
                    said=self.files.said,
                )
            )
        self._applied = max(self._applied, moved_to)

    def _loaded(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # The next requests must not wait for the same outage; `run` goes on asking.
            self._rests_until_s = self._clock.monotonic() + REST_S
            log.warning("flags.not_loaded", error=repr(error), version=self.snapshot.version)

    def _put(self, world: FlagWorld) -> None:
        if world == self.snapshot.world:
            return
        snapshot = compiled(world, self.snapshot.world)
        log.info("flags.changed", version=world.version)
        self._swap(snapshot)

    def _swap(self, snapshot: Snapshot) -> None:
        before, self.snapshot = self.snapshot, snapshot
        changed = changed_keys(before.world, snapshot.world)
        self.changed.set()
        for told in tuple(self._listeners):
            told(snapshot, changed)
