"""Two worlds of flags beside each other: what differs, and what still counts of a broken one."""

from __future__ import annotations

from dataclasses import replace

import structlog

from apps.core.errors import PrerequisiteCycle
from apps.core.flags.snapshot import FlagEntry, FlagWorld, Snapshot

log = structlog.get_logger(__name__)


def changed_keys(before: FlagWorld, after: FlagWorld) -> frozenset[str]:
    """Keys of the flags that are not decided from the same facts."""
    old, new = _facts(before), _facts(after)
    return frozenset(key for key in {*old, *new} if old.get(key) != new.get(key))


def compiled(world: FlagWorld, good: FlagWorld) -> Snapshot:
    """The snapshot of a world; of the last good one, with the kills of this, if it has none."""
    try:
        return Snapshot(world)
    except PrerequisiteCycle as error:
        log.error("flags.not_usable", error=error.detail, version=world.version)
        return Snapshot(kills_only(world, good))


def kills_only(world: FlagWorld, good: FlagWorld) -> FlagWorld:
    """A world whose definitions cannot be compiled: the last good ones, killed as it says."""
    killed = {entry.key for entry in world.entries if entry.killed}
    entries = {entry.key: entry for entry in good.entries}
    kept = {key: replace(entry, killed=key in killed) for key, entry in entries.items()}
    new = {key: FlagEntry(key, killed=True) for key in sorted(killed - entries.keys())}
    return replace(
        world, flags=good.flags, entries=(*kept.values(), *new.values()), evaluators=good.evaluators
    )


def _facts(world: FlagWorld) -> dict[str, tuple[object, ...]]:
    flags = {flag.key: flag for flag in world.flags}
    entries = {entry.key: entry for entry in world.entries}
    shared = (world.kill_all, world.local_kill, world.evaluators)
    return {
        key: (
            flags.get(key),
            entries.get(key),
            world.rollouts.get(key),
            world.environment.get(key, "auto"),
            *shared,
        )
        for key in {*flags, *entries, *world.rollouts}
    }
