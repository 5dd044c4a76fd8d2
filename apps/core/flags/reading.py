"""Flags as people read them: the list, one flag, the audit, the document.

A process that serves hands its store over, and what it answers with is shown; the command line
has none and compiles a snapshot of its own when it is asked for one.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from apps.core.domain.flags import Flag
from apps.core.domain.ports import Clock
from apps.core.errors import NotFound
from apps.core.flags import transfer
from apps.core.flags.catalogue import CATALOGUE, HostWord
from apps.core.flags.signs import as_workers_say
from apps.core.flags.snapshot import FlagWorld, Snapshot
from apps.core.flags.stored import world_of
from apps.core.flags.views import FlagView, Seen, views
from apps.core.flags.worlds import compiled
from apps.core.storage import flag_acks, flag_audit
from apps.core.storage import flags as stored_flags
from apps.core.storage.engine import Session, Storage
from apps.core.storage.flag_audit import AuditFilter, AuditRow, Verdict
from apps.core.storage.flags import FlagTable


class Serving(Protocol):
    """What a process that serves offers; `flags.store.FlagStore` does."""

    @property
    def snapshot(self) -> Snapshot:
        """What it answers with now."""

    @property
    def host(self) -> str:
        """Where it runs."""

    async def reload(self) -> int:
        """Read everything again; the version."""

    async def kill_locally(self, keys: frozenset[str], note: str = "") -> bool:
        """Skip flags, `*` for all, without SQL; whether the whole host does. `note` says why."""


class FlagReader:
    """Everything about flags that changes nothing."""

    def __init__(
        self,
        storage: Storage,
        store: Serving | None,
        clock: Clock,
        *,
        flags: Sequence[Flag] = CATALOGUE,
        said: HostWord | None = None,
    ) -> None:
        """Work on a database.

        Args:
            storage: where flags are kept.
            store: of this process, if it serves.
            clock: for the audit.
            flags: that the code declares; a store's own count instead.
            said: by the files and the environment of this process; a store's own counts instead.
        """
        self.storage = storage
        self.clock = clock
        self.store = store
        self._flags = flags
        self._said = said or HostWord()

    async def all(self) -> tuple[int, list[FlagView]]:
        """The version of all flags, and every flag."""
        async with self.storage.reading() as s:
            seen = await self.seen(s, await stored_flags.load_flags(s))
        return seen.table.version, list(views(seen))

    async def get(self, key: str) -> FlagView:
        """One flag.

        Raises:
            NotFound: neither the code nor SQL knows it.
        """
        _, found = await self.all()
        view = next((each for each in found if each.key == key), None)
        if view is None:
            raise NotFound(f"There is no flag {key!r}.")
        return view

    async def snapshot(self) -> Snapshot:
        """What this process answers with; without a store, what the workers of its host decide."""
        if self.store is not None:
            return self.store.snapshot
        async with self.storage.reading() as s:
            return (await self.seen(s, await stored_flags.load_flags(s))).snapshot

    async def exported(self) -> bytes:
        """Every definition as a flagd document; the same flags give the same bytes."""
        async with self.storage.reading() as s:
            return transfer.exported(await stored_flags.load_flags(s))

    async def audit(
        self, wanted: AuditFilter, *, before_id: int | None = None, limit: int = 100
    ) -> tuple[list[AuditRow], Verdict]:
        """Rows of the audit, the newest first, and what the check of the whole chain says."""
        async with self.storage.reading() as s:
            rows = await flag_audit.listed(s, wanted, before_id=before_id, limit=limit)
            return rows, await flag_audit.verify(s)

    async def verify(self) -> Verdict:
        """Check every row of the audit."""
        async with self.storage.reading() as s:
            return await flag_audit.verify(s)

    @property
    def declared(self) -> Sequence[Flag]:
        """The flags of the code."""
        return self._flags if self.store is None else self.store.snapshot.world.flags

    async def seen(self, s: Session, table: FlagTable) -> Seen:
        """What a judgement about flags is made of, inside a unit of work."""
        today = datetime.fromtimestamp(self.clock.now(), UTC).date()
        acks = await flag_acks.live(s)
        if self.store is not None:
            return Seen(table, self.store.snapshot, acks, today, self.store.host)
        host = socket.gethostname()
        said = as_workers_say(self._said, host, acks)
        snapshot = compiled(world_of(table, flags=self._flags, said=said), FlagWorld())
        return Seen(table, snapshot, acks, today, host)
