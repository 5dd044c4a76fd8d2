"""Each flag as operators see it: what code, SQL, environment and rollouts say of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from apps.core.domain.flags import EVERY_FLAG, Flag
from apps.core.flags.context import FlagContext
from apps.core.flags.shape import items
from apps.core.flags.signs import LocalKill, kills_of
from apps.core.flags.snapshot import Snapshot
from apps.core.flags.vetoes import hosts_against, variable_of
from apps.core.settings import TriState
from apps.core.storage.flag_acks import Ack
from apps.core.storage.flags import NO_VERSION, FlagTable, FlagWish, StoredFlag
from apps.core.storage.rollouts import Rollout


@dataclass(frozen=True, slots=True)
class FlagView:
    """One flag.

    state: of the definition; ENABLED without one.
    percent: a share set by hand, 0-100.
    killed: in the database or by a file of the asked host; `killed_by` did it in the database.
    kill_files: of any host, that name the flag.
    environment: the word of the asked process; `variable` gives it.
    vetoed_by: hosts that report a veto.
    stale: its expiry date is over.
    version: of its row, 0 when SQL knows nothing of it.
    decided_by: the layer that decides for a caller of whom nothing is known, and `because` its
        detail; None for a flag that the asked process does not know yet.
    """

    key: str
    description: str
    state: str
    default_variant: str | None
    percent: float | None
    killed: bool
    killed_by: str | None
    kill_files: tuple[LocalKill, ...]
    environment: TriState
    variable: str
    vetoed_by: tuple[str, ...]
    rollout: Rollout | None
    hash_version: str
    kind: str
    owner: str | None
    expires_at: str | None
    stale: bool
    prerequisites: tuple[str, ...]
    version: int
    definition: Mapping[str, Any] | None
    decided_by: str | None
    because: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What views are made of; `snapshot` is what `host` decides by."""

    table: FlagTable
    snapshot: Snapshot
    acks: Sequence[Ack]
    today: date
    host: str

    def against(self, key: str) -> tuple[str, ...]:
        """Hosts that forbid a flag."""
        hosts = set(hosts_against(key, self.acks))
        if self.snapshot.world.environment.get(key) == "false":
            hosts.add(self.host)
        return tuple(sorted(hosts))

    def kill_files(self, key: str) -> tuple[LocalKill, ...]:
        """KILL files that name a flag; that of this host as it is now."""
        said = self.snapshot.world.said
        others = (ack for ack in self.acks if ack.host != self.host)
        own = LocalKill(self.host, said.kill_place) if {key, EVERY_FLAG} & said.killed else None
        return (*([own] if own else ()), *kills_of(key, others))

    def decided(self, key: str) -> tuple[str | None, str]:
        """The layer that decides for nobody in particular, and its detail."""
        if key not in self.snapshot.keys:
            return None, ""
        found = self.snapshot.explain(key, FlagContext())
        layer = found.decision.layer
        return layer, next((step.detail for step in found.ladder if step.layer == layer), "")


def views(seen: Seen) -> Iterator[FlagView]:
    """All flags: those of the code in their order, then those of SQL by key."""
    rows = {row.key: row for row in seen.table.flags}
    declared = {flag.key: flag for flag in seen.snapshot.world.flags}
    going = {each.flag_key: each for each in seen.table.rollouts}
    for key in dict.fromkeys((*declared, *rows)):
        row = rows.get(key) or StoredFlag(key, FlagWish(), False, None, NO_VERSION)
        yield _view(seen, row, flag=declared.get(key), rollout=going.get(key))


def _view(seen: Seen, row: StoredFlag, *, flag: Flag | None, rollout: Rollout | None) -> FlagView:
    wish, raw = row.wish, row.wish.definition or {}
    metadata = metadata_of(raw)
    expires_at = metadata.get("expiresAt")
    world, kill_files = seen.snapshot.world, seen.kill_files(row.key)
    here = any(each.host == seen.host for each in kill_files)
    decided_by, because = seen.decided(row.key)
    required = (*(flag.requires if flag else ()), *items(metadata.get("prerequisites")))
    return FlagView(
        key=row.key,
        description=flag.description if flag else str(metadata.get("description", "")),
        state=str(raw.get("state", "ENABLED")),
        default_variant=wish.default_variant,
        percent=metadata.get("percent"),
        killed=row.killed or seen.table.kill_all or here,
        killed_by=row.killed_by,
        kill_files=kill_files,
        environment=world.environment.get(row.key, "auto"),
        variable=variable_of(row.key, world.names),
        vetoed_by=seen.against(row.key),
        rollout=rollout,
        hash_version=wish.hash_version,
        kind=wish.kind,
        owner=wish.owner,
        expires_at=expires_at,
        stale=expires_at is not None and date.fromisoformat(expires_at) < seen.today,
        prerequisites=tuple(dict.fromkeys(required)),
        version=row.version,
        definition=wish.definition,
        decided_by=decided_by,
        because=because,
    )


def metadata_of(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of a definition."""
    found = raw.get("metadata")
    return found if isinstance(found, dict) else {}


def requirements(
    flags: Iterable[Flag], definitions: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, tuple[str, ...]]:
    """Which flags each flag waits for, by code and by definition."""
    needed = {flag.key: flag.requires for flag in flags}
    for key, raw in definitions.items():
        more = items(metadata_of(raw or {}).get("prerequisites"))
        needed[key] = (*needed.get(key, ()), *more)
    return needed
