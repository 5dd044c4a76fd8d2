"""What is known of a rollout without counting: kills, vetoes, sick nodes, workers that die.

All of it is in SQL, where every worker reports what only it can see, so the one that leads
judges by all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apps.core.flags.counters import Health, NodeReport
from apps.core.flags.rollout_rows import attempt_of, notes_of
from apps.core.flags.signs import kills_of, nodes_of
from apps.core.flags.vetoes import hosts_against, variable_of
from apps.core.storage import flag_acks, flag_versions, flags
from apps.core.storage.connections import Session
from apps.core.storage.flag_acks import Ack
from apps.core.storage.rollouts import Rollout

CRASH_WINDOW_S = 300.0


async def read(s: Session, row: Rollout, *, now: float) -> Health:
    """The health of the rollout's flag.

    A crash counts only after the stage began or a person resumed it.
    """
    notes = notes_of(row)
    since = max(row.stage_started_at or now, notes.resumed_at or 0.0)
    heard_s = min(CRASH_WINDOW_S, max(0.0, now - since))
    live = await flag_acks.live(s)
    return Health(
        kills=await kills(s, row.flag_key, live),
        nodes=tuple(_nodes(row, live)),
        silences=tuple(await flag_acks.silences(s, heard_s=heard_s)),
        trigger=notes.trigger,
        vetoes=vetoes(row.flag_key, live),
    )


async def kills(s: Session, flag_key: str, acks: Iterable[Ack]) -> tuple[str, ...]:
    """What kills a flag: the database, or the KILL file of any host."""
    stored, head = await flags.find(s, flag_key), await flag_versions.read(s)
    found = ["all flags"] if head.kill_all else []
    if stored is not None and stored.killed:
        found.append("the flag")
    return (*found, *(each.place for each in kills_of(flag_key, acks)))


def vetoes(flag_key: str, acks: Sequence[Ack]) -> tuple[str, ...]:
    """`host: FEATURE_X=false` for each host whose environment forbids the flag."""
    name = variable_of(flag_key)
    return tuple(f"{host}: {name}=false" for host in hosts_against(flag_key, acks))


def _nodes(row: Rollout, acks: Iterable[Ack]) -> Iterable[NodeReport]:
    attempt = (row.flag_key, row.id, attempt_of(row))
    for ack in acks:
        for sign in nodes_of(ack):
            if (sign.flag_key, sign.rollout, sign.epoch) == attempt:
                yield NodeReport(ack.worker_id, sign.runs, sign.failed_units)
