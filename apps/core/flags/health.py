"""What is known of a rollout without counting: kills, vetoes, and workers that die."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from apps.core.flags.counters import Health
from apps.core.flags.rollout_rows import notes_of
from apps.core.flags.vetoes import hosts_against, variable_of
from apps.core.storage import flag_acks, flag_versions, flags
from apps.core.storage.connections import Session
from apps.core.storage.flag_acks import Ack
from apps.core.storage.rollouts import Rollout

CRASH_WINDOW_S = 300.0
CRASHES = 3
# Workers of one host that is switched off fall silent together; that is one incident.
TOGETHER_S = 5.0


class Signs(Protocol):
    """What this process knows of a flag's node."""

    def node_healthy(self, flag_key: str) -> bool:
        """Whether the node's own check passes."""

    def trigger(self, flag_key: str) -> str | None:
        """The reason of a rollback that a runbook or an alarm asks for; None is nobody."""


async def read(s: Session, row: Rollout, *, now: float, signs: Signs | None = None) -> Health:
    """The health of the rollout's flag.

    A veto counts only while the flag could be on, and a crash only after the stage began or a
    person resumed it.
    """
    stored = await flags.find(s, row.flag_key)
    head = await flag_versions.read(s)
    since = max(row.stage_started_at or now, notes_of(row).resumed_at or 0.0)
    heard_s = min(CRASH_WINDOW_S, max(0.0, now - since))
    silences = await flag_acks.silences(s, heard_s=heard_s)
    return Health(
        killed=head.kill_all or (stored is not None and stored.killed),
        node_healthy=signs is None or signs.node_healthy(row.flag_key),
        crash_loop=incidents(silences) >= CRASHES,
        trigger=None if signs is None else signs.trigger(row.flag_key),
        vetoes=vetoes(row.flag_key, await flag_acks.live(s)),
    )


def incidents(silences: Sequence[float]) -> int:
    """How often workers fell silent; `silences` are ages in seconds, rising."""
    return sum(
        1 for at, age in enumerate(silences) if at == 0 or age - silences[at - 1] > TOGETHER_S
    )


def vetoes(flag_key: str, acks: Sequence[Ack]) -> tuple[str, ...]:
    """`host: FEATURE_X=false` for each host whose environment forbids the flag."""
    name = variable_of(flag_key)
    return tuple(f"{host}: {name}=false" for host in hosts_against(flag_key, acks))
