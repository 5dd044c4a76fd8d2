"""What only a worker can see, as it reports it in SQL with every acknowledgement.

The words of its environment and its env file, the KILL file of its host, and the nodes that it
ran. So whoever leads sees every worker, and the command line of a host knows what its workers
decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from apps.core.domain.flags import EVERY_FLAG
from apps.core.flags.catalogue import Environment, HostWord
from apps.core.flags.node_watch import NodeSign
from apps.core.settings import TriState

if TYPE_CHECKING:
    from apps.core.storage.flag_acks import Ack

STRICT: Mapping[str, int] = {"auto": 0, "true": 1, "false": 2}


@dataclass(frozen=True, slots=True)
class LocalKill:
    """A KILL file that names a flag, or all of them."""

    host: str
    place: str


def report(said: HostWord, nodes: Iterable[NodeSign]) -> dict[str, Any]:
    """What a worker writes."""
    words = said.environment
    return {
        "words": {
            key: [word, words.names.get(key, ""), words.places.get(key, "")]
            for key, word in words.words.items()
        },
        "kills": sorted(said.killed),
        "kill_place": said.kill_place,
        "nodes": [asdict(sign) for sign in nodes],
    }


def nodes_of(ack: Ack) -> list[NodeSign]:
    """The nodes that a worker ran; none from an older release."""
    return [NodeSign(**sign) for sign in ack.report.get("nodes", ())]


def kills_of(flag_key: str, acks: Iterable[Ack]) -> tuple[LocalKill, ...]:
    """The KILL files that name a flag, each host once."""
    found = {}
    for ack in acks:
        if {flag_key, EVERY_FLAG} & set(ack.report.get("kills", ())):
            place = str(ack.report.get("kill_place", "")) or f"the KILL file on {ack.host}"
            found[ack.host, place] = LocalKill(ack.host, place)
    return tuple(found[key] for key in sorted(found))


def as_workers_say(own: HostWord, host: str, acks: Sequence[Ack]) -> HostWord:
    """What the live workers of a host decide by; what this process reads when there is none.

    A worker keeps the environment that it was started with, and the last good words of a file
    that is broken now. Where workers differ, the strictest word counts, as it does for a rollout.
    """
    here = [ack.report for ack in acks if ack.host == host and "words" in ack.report]
    if not here:
        return own
    words: dict[str, TriState] = {}
    names, places = {}, {}
    for key, (word, name, place) in (pair for each in here for pair in each["words"].items()):
        if key not in words or STRICT[word] > STRICT[words[key]]:
            words[key], names[key], places[key] = word, name, place
    # A KILL file that was just written holds, whether its workers have seen it yet or not.
    killed = own.killed.union(*(each.get("kills", ()) for each in here))
    told = next((each["kill_place"] for each in here if each.get("kills")), own.kill_place)
    place = own.kill_place if own.killed else told
    return HostWord(Environment(words, names, places=places), killed, place)
