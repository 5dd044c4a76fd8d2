"""What workers report, read back by whoever leads and by the command line of their host."""

from __future__ import annotations

import json

from apps.core.flags.catalogue import Environment, HostWord
from apps.core.flags.node_watch import NodeSign
from apps.core.flags.signs import LocalKill, as_workers_say, kills_of, nodes_of, report
from apps.core.storage.flag_acks import Ack

SIGN = NodeSign("f", "r1", 1, 9, 5)
OLDER = Ack("a:9", "a", 1, ("f",))


def said(word: str = "auto", *, killed: tuple[str, ...] = (), place: str = "/srv/KILL") -> HostWord:
    words = Environment({"f": word}, {"f": "FEATURE_F"}, places={"f": "/srv/env"})  # type: ignore[dict-item]
    return HostWord(words, frozenset(killed), place)


def ack(worker: str, host: str, what: HostWord) -> Ack:
    """As it comes back from SQL."""
    return Ack(worker, host, 1, report=json.loads(json.dumps(report(what, [SIGN]))))


def test_a_report_comes_back_as_it_was() -> None:
    """Through JSON, and a worker of an older release reports nothing."""
    found = ack("a:1", "a", said("false", killed=("g", "*")))
    assert nodes_of(found) == [SIGN]
    assert as_workers_say(HostWord(), "a", [found]) == said("false", killed=("g", "*"))
    assert (nodes_of(OLDER), kills_of("f", [OLDER])) == ([], ())
    assert as_workers_say(said("true"), "a", [OLDER]) == said("true")


def test_kill_files_are_named_once_a_host() -> None:
    """By key or for all; several workers of one host read the same file."""
    acks = [
        ack("b:1", "b", said(killed=("*",))),
        ack("a:1", "a", said(killed=("f",))),
        ack("a:2", "a", said(killed=("f",))),
        ack("c:1", "c", said(killed=("g",))),
    ]
    assert kills_of("f", acks) == (LocalKill("a", "/srv/KILL"), LocalKill("b", "/srv/KILL"))


def test_the_workers_of_a_host_know_better_than_a_shell() -> None:
    """Their environment counts, the strictest of several, and those of other hosts do not."""
    shell = said("false")
    assert as_workers_say(shell, "a", [ack("a:1", "a", said("true"))]) == said("true")
    assert as_workers_say(shell, "a", [ack("b:1", "b", said("true"))]) == shell
    both = [ack("a:1", "a", said("false")), ack("a:2", "a", said("true"))]
    assert as_workers_say(shell, "a", both) == shell


def test_a_kill_file_holds_before_its_workers_have_read_it() -> None:
    """What this process reads and what workers read are both meant."""
    own = said(killed=("f",), place="/mine/KILL")
    found = as_workers_say(own, "a", [ack("a:1", "a", said(killed=("g",)))])
    assert (found.killed, found.kill_place) == (frozenset({"f", "g"}), "/mine/KILL")
