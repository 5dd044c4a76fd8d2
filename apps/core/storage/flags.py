"""Flags as operators define them: written under a version, killed by name, never half.

Every writer takes the lock of `flag_versions`, leaves one audit row and advances the version in
the same unit of work. A change that changes nothing does none of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sqlalchemy import RowMapping, delete, select

from apps.core.errors import BusinessFailure, NotFound, VersionConflict
from apps.core.storage import flag_versions, rollouts
from apps.core.storage.connections import Session, canonical_json, insert
from apps.core.storage.flag_audit import Cause
from apps.core.storage.flag_tables import feature_flag
from apps.core.storage.rollouts import Rollout

NO_VERSION = 0
HASH_VERSION = "v2"
SALT = "s1"
COHORT = ("hash_version", "salt")
DOCUMENT = "$document"
"""A row that is no flag, since no flag may be called so: what a flagd document holds besides its
flags. As a row of this table it shares their lock, versions and audit."""


@dataclass(frozen=True, slots=True)
class FlagWish:
    """What an operator wants a flag to be; None means that SQL has no opinion.

    Fields:
        definition: the flag's entry of a flagd document, checked by the caller.
        expires_at: seconds since 1970.
    """

    definition: Mapping[str, Any] | None = None
    default_variant: str | None = None
    hash_version: str = HASH_VERSION
    salt: str = SALT
    kind: str = "release"
    owner: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class StoredFlag:
    """A flag's row; `version` is the one of all flags at its last change, so it never returns."""

    key: str
    wish: FlagWish
    killed: bool
    killed_by: str | None
    version: int


@dataclass(frozen=True, slots=True)
class FlagTable:
    """All flags at one version.

    Fields:
        rollouts: the one that counts for each flag, if any.
        document: members of a flagd document besides `flags`, e.g. `$evaluators`.
    """

    version: int
    kill_all: bool
    flags: tuple[StoredFlag, ...]
    rollouts: tuple[Rollout, ...]
    document: Mapping[str, Any] = field(default_factory=dict)


async def load_flags(s: Session) -> FlagTable:
    """Everything a snapshot is made of; call it in `storage.reading()`, which sees one state."""
    head = await flag_versions.read(s)
    rows = (await s.execute(select(feature_flag).order_by(feature_flag.c.key))).mappings()
    stored = {row["key"]: _flag(row) for row in rows}
    document = stored.pop(DOCUMENT, None)
    return FlagTable(
        head.version,
        head.kill_all,
        tuple(stored.values()),
        tuple(await rollouts.current(s)),
        (document.wish.definition if document else None) or {},
    )


async def find(s: Session, key: str) -> StoredFlag | None:
    """A flag's row, None when SQL knows nothing of it."""
    row = (await s.execute(select(feature_flag).where(feature_flag.c.key == key))).mappings()
    found = row.first()
    return _flag(found) if found else None


async def put(
    s: Session, key: str, wish: FlagWish, *, cause: Cause, if_match: int | None = None
) -> StoredFlag:
    """Make a flag what is wished; a wish that is already true changes nothing.

    Args:
        if_match: the version the caller has seen, 0 for "there is none yet", None for any.

    Raises:
        VersionConflict: the flag has another version now.
        BusinessFailure: the cohorts would move while a rollout is running or held.
    """
    before = await _locked(s, key, if_match)
    after = _killed_or_not(key, before, wish)
    if before is not None and _same(before.wish, wish):
        return before
    await _check_cohort(s, key, before, wish)
    return await _store(s, before, after, cause)


async def patch(
    s: Session,
    key: str,
    revise: Callable[[FlagWish], FlagWish],
    *,
    cause: Cause,
    if_match: int | None = None,
) -> StoredFlag:
    """Make a new wish of the stored one, or of `FlagWish()` when SQL does not know the flag.

    Raises:
        VersionConflict: as in `put`.
        BusinessFailure: as in `put`.
    """
    before = await _locked(s, key, if_match)
    return await put(s, key, revise(before.wish if before else FlagWish()), cause=cause)


async def kill(s: Session, key: str, *, cause: Cause) -> StoredFlag:
    """Switch a flag off above everything else; works for flags that SQL does not know."""
    before = await _locked(s, key, None)
    if before is not None and before.killed:
        return before
    known = before or StoredFlag(key, FlagWish(), False, None, NO_VERSION)
    return await _store(s, before, replace(known, killed=True, killed_by=cause.actor), cause)


async def unkill(s: Session, key: str, *, cause: Cause) -> StoredFlag:
    """End a kill; people only.

    Raises:
        NotFound: SQL knows no such flag.
        BusinessFailure: the automatic actor asks.
    """
    if cause.source == "controller":
        raise BusinessFailure("Only a person ends a kill.")
    before = await _locked(s, key, None)
    if before is None:
        raise NotFound(f"There is no stored flag {key!r}.")
    if not before.killed:
        return before
    return await _store(s, before, replace(before, killed=False, killed_by=None), cause)


async def remove(s: Session, key: str, *, cause: Cause, if_match: int | None = None) -> bool:
    """Delete a flag's row; False when there is none.

    Raises:
        VersionConflict: the flag has another version now.
        BusinessFailure: a rollout of the flag is running or held.
    """
    before = await _locked(s, key, if_match)
    if before is None:
        return False
    if await rollouts.active(s, key) is not None:
        raise BusinessFailure(f"A rollout of {key!r} is under way; end it first.")
    await s.execute(delete(feature_flag).where(feature_flag.c.key == key))
    await flag_versions.changed(s, cause, flag_key=key, before=_columns(before), after=None)
    return True


async def _locked(s: Session, key: str, if_match: int | None) -> StoredFlag | None:
    await flag_versions.lock(s)
    found = await find(s, key)
    version = found.version if found else NO_VERSION
    if if_match is not None and if_match != version:
        raise VersionConflict(f"Flag {key!r} has version {version}, not {if_match}.")
    return found


async def _check_cohort(s: Session, key: str, before: StoredFlag | None, wish: FlagWish) -> None:
    old = before.wish if before else FlagWish()
    moved = any(getattr(old, name) != getattr(wish, name) for name in COHORT)
    changed = _variants(old) != _variants(wish)
    if not (moved or changed) or await rollouts.active(s, key) is None:
        return
    if moved:
        raise BusinessFailure(f"A rollout of {key!r} is under way; its cohort cannot move.")
    # Its counters would add up answers of two kinds.
    raise BusinessFailure(f"A rollout of {key!r} is under way; its variants cannot change.")


def _variants(wish: FlagWish) -> object:
    """What the variants stand for, as text, because 1 is not true."""
    return canonical_json((wish.definition or {}).get("variants", {"on": True, "off": False}))


async def _store(
    s: Session, before: StoredFlag | None, after: StoredFlag, cause: Cause
) -> StoredFlag:
    # The lock is held, so this is the version that the change will get.
    head = await flag_versions.read(s)
    stored = replace(after, version=head.version + 1)
    row = {"key": stored.key, "version": stored.version, **_columns(stored)}
    statement = insert(s, feature_flag).values(row)
    newer = {name: statement.excluded[name] for name in row if name != "key"}
    await s.execute(statement.on_conflict_do_update(index_elements=["key"], set_=newer))
    old = _columns(before) if before else None
    await flag_versions.changed(s, cause, flag_key=stored.key, before=old, after=_columns(stored))
    return stored


def _killed_or_not(key: str, before: StoredFlag | None, wish: FlagWish) -> StoredFlag:
    if before is None:
        return StoredFlag(key, wish, False, None, NO_VERSION)
    return replace(before, wish=wish)


def _same(one: FlagWish, other: FlagWish) -> bool:
    # Python says 1 == True and (1,) != [1]; flagd and JSON say the opposite.
    return canonical_json(_wished(one)) == canonical_json(_wished(other))


def _columns(flag: StoredFlag) -> dict[str, object]:
    return {**_wished(flag.wish), "killed": flag.killed, "killed_by": flag.killed_by}


def _wished(wish: FlagWish) -> dict[str, object]:
    return {each.name: getattr(wish, each.name) for each in fields(FlagWish)}


def _flag(row: RowMapping) -> StoredFlag:
    wish = FlagWish(**{each.name: row[each.name] for each in fields(FlagWish)})
    return StoredFlag(row["key"], wish, row["killed"], row["killed_by"], row["version"])
