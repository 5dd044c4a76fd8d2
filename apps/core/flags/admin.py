"""Flags as people read and change them, from the REST interface and from the command line.

SQL is the truth: each change is one unit of work with one audit row for each thing that changed.
A process that serves hands its store over, so that it answers with the change at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from apps.core.domain.flags import EVERY_FLAG
from apps.core.errors import BusinessFailure, NotFound, StorageDown, VersionConflict
from apps.core.flags import transfer, vetoes
from apps.core.flags.definition import FlagDefinition, FlagSet, parse_flag
from apps.core.flags.edits import Edit, may_be_on
from apps.core.flags.prerequisites import prerequisites_first
from apps.core.flags.reading import FlagReader
from apps.core.flags.stored import definition_of, evaluators_of, wish_of
from apps.core.flags.transfer import Imported, Mode
from apps.core.flags.views import FlagView, requirements
from apps.core.storage import flag_versions, rollout_moves, rollouts
from apps.core.storage import flags as stored_flags
from apps.core.storage.engine import Session
from apps.core.storage.flag_audit import Cause, Source
from apps.core.storage.flags import NO_VERSION, FlagTable, FlagWish, StoredFlag
from apps.core.storage.rollouts import Rollout

# A database that does not say so by then is taken for away, and the kill goes to this host.
KILL_S = 2.0
ONE_WORKER = (
    "The database is away and the KILL file cannot be written: only this worker has killed it."
)


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants a change, through which door, and why."""

    actor: str
    source: Source
    reason: str = ""

    @property
    def note(self) -> str:
        """All of it in a line, for what is not the audit."""
        return f"{self.actor} by {self.source}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True, slots=True)
class Killed:
    """What a kill did; `local` when the database was away and only this host knows of it."""

    version: int
    local: bool = False


class FlagAdmin(FlagReader):
    """Reads and changes flags for people."""

    async def edit(
        self, key: str, edit: Edit, *, wish: Wish, if_match: int | None = None, new: bool = False
    ) -> FlagView:
        """Change a flag.

        Args:
            if_match: the version that the person has seen, 0 for none yet, None for any.
            new: whether a flag may be made that nobody knows.

        Raises:
            NotFound: there is no such flag and none may be made.
            VersionConflict: it has another version now.
            BadDefinition: the definition that would result cannot be used.
            EnvironmentVeto: it would turn the flag on where a host forbids that.
            PrerequisiteCycle: flags would wait for each other.
            BusinessFailure: a rollout is under way.
        """
        cause = self._cause(wish)
        async with self.storage.session() as s:
            await flag_versions.lock(s)
            table = await stored_flags.load_flags(s)
            row = self._row(table, key, may_make=new)
            if if_match is not None and if_match != row.version:
                raise VersionConflict(f"Flag {key!r} has version {row.version}, not {if_match}.")
            after = self._edited(table, row, edit)
            await self._refuse_veto(s, table, row=row, edit=edit, after=after)
            retired = await _settle_rollout(s, table, key, edit=edit, cause=cause)
            stored = await stored_flags.put(s, key, _wished(after), cause=cause)
            if retired is not None and stored.version == row.version:
                # The row says the same as before, but now it counts.
                facts = rollouts.audited(retired)
                await flag_versions.changed(s, cause, flag_key=key, before=facts, after=None)
        return await self._told(key)

    async def kill(self, key: str, *, wish: Wish) -> Killed:
        """Switch a flag off above everything else, on this host even without a database.

        Raises:
            NotFound: neither the code nor SQL knows it.
            StorageDown: neither the database nor the KILL file can be written.
        """

        async def work(s: Session) -> None:
            await flag_versions.lock(s)
            self._row(await stored_flags.load_flags(s), key)
            await stored_flags.kill(s, key, cause=self._cause(wish))

        return await self._killed(work, key, wish)

    async def kill_all(self, *, wish: Wish) -> Killed:
        """Switch every flag off, on this host even without a database."""

        async def work(s: Session) -> None:
            await flag_versions.kill_all(s, on=True, cause=self._cause(wish))

        return await self._killed(work, EVERY_FLAG, wish)

    async def unkill(self, key: str, *, wish: Wish) -> int:
        """End the kill of a flag; the version.

        Raises:
            NotFound: there is no such flag.
        """
        async with self.storage.session() as s:
            await flag_versions.lock(s)
            row = self._row(await stored_flags.load_flags(s), key)
            if row.version != NO_VERSION:
                await stored_flags.unkill(s, key, cause=self._cause(wish))
            version = (await flag_versions.read(s)).version
        await self._reload()
        return version

    async def unkill_all(self, *, wish: Wish) -> int:
        """End the kill of all flags; flags that are killed by name stay so. The version."""
        async with self.storage.session() as s:
            await flag_versions.kill_all(s, on=False, cause=self._cause(wish))
            version = (await flag_versions.read(s)).version
        await self._reload()
        return version

    async def take_in(
        self, document: FlagSet, *, mode: Mode, wish: Wish, dry_run: bool = False
    ) -> tuple[Imported, Mapping[str, tuple[str, ...]]]:
        """Import a document, all of it or nothing.

        Returns:
            What changed, or would; and of the flags that it turns on, the hosts that forbid it.

        Raises:
            PrerequisiteCycle, BusinessFailure: as `transfer.take_in`.
        """
        cause = replace(self._cause(wish), source="import")
        try:
            async with self.storage.session() as s:
                done = await transfer.take_in(
                    s, document, mode=mode, cause=cause, flags=self.declared
                )
                seen = await self.seen(s, FlagTable(done.version, False, (), ()))
                hosts = {key: found for key in done.on if (found := seen.against(key))}
                if dry_run:
                    raise _Undone
        except _Undone:
            return done, hosts
        await self._reload()
        return done, hosts

    async def reload(self) -> int:
        """Read SQL and the files of this host again; the version.

        Raises:
            StorageDown: SQL cannot be read; what was known stays.
        """
        if self.store is not None:
            return await self.store.reload()
        async with self.storage.session() as s:
            # Workers that missed a notification look again.
            return await flag_versions.advance(s)

    def _cause(self, wish: Wish) -> Cause:
        return Cause(wish.actor, wish.source, self.clock.now(), wish.reason)

    def _row(self, table: FlagTable, key: str, *, may_make: bool = False) -> StoredFlag:
        row = next((each for each in table.flags if each.key == key), None)
        if row is None and not may_make and all(flag.key != key for flag in self.declared):
            raise NotFound(f"There is no flag {key!r}.")
        return row or StoredFlag(key, FlagWish(), False, None, NO_VERSION)

    def _edited(self, table: FlagTable, row: StoredFlag, edit: Edit) -> FlagDefinition | None:
        raw = edit.applied(row.wish.definition)
        if raw is None:
            return None
        definitions = {each.key: each.wish.definition for each in table.flags}
        # What was once accepted must not keep anybody from switching the flag off.
        kept = edit.definition is None and not edit.members
        after = parse_flag(row.key, raw, evaluators=evaluators_of(table), lenient=kept)
        prerequisites_first(requirements(self.declared, {**definitions, row.key: after.raw}))
        return after

    async def _refuse_veto(
        self,
        s: Session,
        table: FlagTable,
        *,
        row: StoredFlag,
        edit: Edit,
        after: FlagDefinition | None,
    ) -> None:
        before = definition_of(row, evaluators_of(table))
        if edit.switches_on or (may_be_on(after) and not may_be_on(before)):
            seen = await self.seen(s, table)
            vetoes.refuse(row.key, seen.against(row.key), seen.snapshot.world.names)

    async def _killed(
        self, work: Callable[[Session], Awaitable[None]], key: str, wish: Wish
    ) -> Killed:
        try:
            async with self.storage.session(within_s=KILL_S) as s:
                await work(s)
                version = (await flag_versions.read(s)).version
        except StorageDown:
            if self.store is None:
                raise
            known = self.store.snapshot
            # Before SQL was ever read nobody can say that there is no such flag.
            if known.version > NO_VERSION and key not in {*known.keys, EVERY_FLAG}:
                raise NotFound(f"There is no flag {key!r}.") from None
            if not await self.store.kill_locally(frozenset({key}), wish.note):
                raise StorageDown(ONE_WORKER) from None
            return Killed(known.version, local=True)
        await self._reload()
        return Killed(version)

    async def _told(self, key: str) -> FlagView:
        await self._reload()
        return await self.get(key)

    async def _reload(self) -> None:
        if self.store is not None:
            # The change is kept whatever happens now; the store looks again each second.
            with contextlib.suppress(StorageDown):
                await self.store.reload()


def _wished(flag: FlagDefinition | None) -> FlagWish:
    return FlagWish() if flag is None else wish_of(flag)


async def _settle_rollout(
    s: Session, table: FlagTable, key: str, *, edit: Edit, cause: Cause
) -> Rollout | None:
    """Make way for a person's decision; returns the finished rollout that serves no more.

    Whoever says off means it, also in the middle of a rollout. On and a share would contradict
    what the controller is doing, so they must wait for its end.
    """
    rollout = next((each for each in table.rollouts if each.flag_key == key), None)
    if rollout is None or not edit.switches:
        return None
    if rollout.state not in rollouts.ACTIVE:
        if await rollout_moves.supersede(s, rollout, cause=cause):
            return rollout
        raise BusinessFailure(f"The rollout of {key!r} has just moved; look again.")
    if edit.on is not False and edit.percent != 0:
        raise BusinessFailure(f"Rollout {rollout.id!r} of {key!r} is under way; end it first.")
    if await rollout_moves.roll_back(s, rollout, cause=cause) is None:
        raise BusinessFailure(f"The rollout of {key!r} has just moved; look again.")
    return None


class _Undone(Exception):
    """Ends a rehearsal."""
