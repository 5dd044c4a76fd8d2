"""Flags between rows of SQL and what the engine decides from: the one place of each conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import structlog

from apps.core.domain.flags import Flag
from apps.core.errors import BadDefinition
from apps.core.flags.catalogue import HostWord
from apps.core.flags.definition import FlagDefinition, parse_flag
from apps.core.flags.hashing import HASH_VERSIONS, HashVersion
from apps.core.flags.rollout import Split
from apps.core.flags.snapshot import FlagEntry, FlagWorld
from apps.core.storage import rollouts
from apps.core.storage.flags import FlagTable, FlagWish, StoredFlag

EVALUATORS = "$evaluators"
log = structlog.get_logger(__name__)


def wish_of(flag: FlagDefinition) -> FlagWish:
    """What a row must say for the flag to be as defined."""
    ends = None
    if flag.expires_at is not None:
        ends = datetime.fromisoformat(flag.expires_at).replace(tzinfo=UTC).timestamp()
    return FlagWish(
        definition=dict(flag.raw),
        default_variant=flag.default_variant,
        hash_version=flag.hash_version,
        salt=flag.salt,
        kind=flag.kind,
        owner=flag.owner,
        expires_at=ends,
    )


def evaluators_of(table: FlagTable) -> Mapping[str, object]:
    """The rules that flags share by `$ref`."""
    found = table.document.get(EVALUATORS, {})
    return found if isinstance(found, dict) else {}


def definition_of(row: StoredFlag, evaluators: Mapping[str, object]) -> FlagDefinition | None:
    """A row's definition, with every oddity that was once accepted; None without one.

    Raises:
        BadDefinition: somebody else than this program wrote the row.
    """
    if row.wish.definition is None:
        return None
    return parse_flag(row.key, row.wish.definition, evaluators=evaluators, lenient=True)


def entry_of(row: StoredFlag, evaluators: Mapping[str, object]) -> FlagEntry:
    """A row for a snapshot; one that cannot be read leaves the flag to the code, but killed."""
    try:
        definition = definition_of(row, evaluators)
    except BadDefinition as error:
        log.warning("flag.unreadable", flag=row.key, error=error.detail)
        return FlagEntry(row.key, killed=row.killed)
    known = (each for each in HASH_VERSIONS if each == row.wish.hash_version)
    version: HashVersion = next(known, "v2")
    return FlagEntry(
        row.key,
        definition,
        row.wish.default_variant,
        version,
        row.wish.salt,
        row.killed,
    )


def served(row: rollouts.Rollout) -> Split:
    """A rollout as it is served; one that is over still serves its share and counts nobody."""
    return Split(
        row.flag_key,
        row.percent,
        id=row.id,
        holdback=row.holdback,
        bucket_by=row.bucket_by,
        arms=row.arms or {},
        salt=row.salt,
        epoch=row.epoch,
        stage=row.stage_idx,
        tau=row.tau or {},
        counts=row.state in rollouts.ACTIVE,
    )


def world_of(
    table: FlagTable,
    *,
    flags: Sequence[Flag],
    said: HostWord,
) -> FlagWorld:
    """Everything that a snapshot is compiled from."""
    evaluators, metadata = evaluators_of(table), table.document.get("metadata")
    world = FlagWorld(
        version=table.version,
        flags=tuple(flags),
        entries=tuple(entry_of(row, evaluators) for row in table.flags),
        rollouts={row.flag_key: served(row) for row in table.rollouts},
        evaluators=evaluators,
        metadata=metadata if isinstance(metadata, dict) else {},
        kill_all=table.kill_all,
    )
    return world.under(said)
