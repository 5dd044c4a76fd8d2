"""The one version of all flags, and the lock under which everything about flags changes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update

from apps.core.storage import changes, flag_audit
from apps.core.storage.connections import Session
from apps.core.storage.flag_audit import Cause, Facts
from apps.core.storage.flag_tables import flag_snapshot

TOPIC = "flags"


@dataclass(frozen=True, slots=True)
class SnapshotHead:
    """The version of all flags together, and whether all of them are killed."""

    version: int
    kill_all: bool


async def read(s: Session) -> SnapshotHead:
    """The present version."""
    row = (await s.execute(select(flag_snapshot.c.version, flag_snapshot.c.kill_all))).one()
    return SnapshotHead(row.version, row.kill_all)


async def lock(s: Session) -> SnapshotHead:
    """Wait until nobody else changes flags, until the end of the unit of work.

    Every change takes this lock before any other row, so that two changes never wait for each
    other in a circle, and what is read after it stays true until the commit.
    """
    query = select(flag_snapshot.c.version, flag_snapshot.c.kill_all).with_for_update()
    row = (await s.execute(query)).one()
    return SnapshotHead(row.version, row.kill_all)


async def advance(s: Session) -> int:
    """Count one change of what a snapshot shows, tell every worker, return the new version."""
    counted = update(flag_snapshot).values(version=flag_snapshot.c.version + 1)
    version = (await s.execute(counted.returning(flag_snapshot.c.version))).scalar_one()
    await changes.bump(s, TOPIC)
    return int(version)


async def changed(
    s: Session,
    cause: Cause,
    *,
    flag_key: str | None,
    before: Facts | None,
    after: Facts | None,
) -> int:
    """Write the audit row of an effective change and advance; return the new version."""
    await flag_audit.append(s, cause, flag_key=flag_key, before=before, after=after)
    return await advance(s)


async def kill_all(s: Session, *, on: bool, cause: Cause) -> bool:
    """Switch every flag off, or end that; False when it was so already."""
    head = await lock(s)
    if head.kill_all == on:
        return False
    await s.execute(update(flag_snapshot).values(kill_all=on))
    states = ({"kill_all": head.kill_all}, {"kill_all": on})
    await changed(s, cause, flag_key=None, before=states[0], after=states[1])
    return True
