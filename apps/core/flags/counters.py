"""What the workers have counted of one epoch, as the controller sees it at one look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from apps.core.flags.evidence import ScoreState
from apps.core.flags.node_watch import FAILURES

CRASHES = 3
# Workers of one host that is switched off fall silent together; that is one incident.
TOGETHER_S = 5.0


@dataclass(frozen=True, slots=True)
class Tally:
    """One metric in one arm of one stage.

    Attributes:
        n: exposures for which the metric is known.
        bad: bad ones among them, all of them.
        votes: bad votes: units that were bad for the first time in the epoch. Requests of one
            unit resemble each other, so only votes may be compared between arms.
        total, total_sq: sum of the values and of their squares, for reports.
    """

    n: int = 0
    bad: int = 0
    votes: int = 0
    total: float = 0.0
    total_sq: float = 0.0


@dataclass(frozen=True, slots=True)
class Arms:
    """The same metric in both arms."""

    canary: Tally = Tally()
    control: Tally = Tally()


NOTHING = Arms()


@dataclass(frozen=True, slots=True)
class StageCounters:
    """One stage of the epoch.

    Attributes:
        share: canary share w that was served, in (0, 1).
        canary_units, control_units: units first seen in the epoch during this stage.
        canary_seen: units seen in the canary during this stage, old ones too.
        requests: exposures of both arms.
        arms: metric name → counts; a metric without counts may be absent.
    """

    share: float
    canary_units: int = 0
    control_units: int = 0
    canary_seen: int = 0
    requests: int = 0
    arms: Mapping[str, Arms] = field(default_factory=dict)

    def of(self, metric: str) -> Arms:
        """Counts of one metric."""
        return self.arms.get(metric, NOTHING)


@dataclass(frozen=True, slots=True)
class Recent:
    """The last moments; times are UTC seconds.

    Attributes:
        canary_requests, canary_bad: canary exposures of the last `breaker_window_s`, and those
            with an `error` or `node_error`.
        canary_units, canary_bad_units: distinct canary units of the same window, and those that
            were bad in it.
        fatal: metric name → bad events of the canary in the same window.
        control_units: distinct control units of the last `silence_s`.
        canary_at, control_at: last exposure of each arm in the epoch; None is never.
    """

    canary_requests: int = 0
    canary_bad: int = 0
    canary_units: int = 0
    canary_bad_units: int = 0
    fatal: Mapping[str, int] = field(default_factory=dict)
    control_units: int = 0
    canary_at: float | None = None
    control_at: float | None = None


@dataclass(frozen=True, slots=True)
class NodeReport:
    """How the node does in one worker: canary requests, and units lost since it last worked."""

    worker: str
    runs: int
    failed_units: int

    @property
    def failing(self) -> bool:
        """Whether nobody gets it any more, as far as that worker knows."""
        return self.failed_units >= FAILURES


@dataclass(frozen=True, slots=True)
class Health:
    """What is known without counting.

    Attributes:
        kills: what kills the flag, in words.
        nodes: how its node does in each worker that ran it in this attempt.
        silences: since when workers fell silent in the stage, in seconds, rising.
        trigger: reason of a rollback that somebody asked for; None is nobody.
        vetoes: `host: FEATURE_X=false` for each host whose environment forbids the flag.
    """

    kills: tuple[str, ...] = ()
    nodes: tuple[NodeReport, ...] = ()
    silences: tuple[float, ...] = ()
    trigger: str | None = None
    vetoes: tuple[str, ...] = ()

    @property
    def killed(self) -> bool:
        """The flag is killed, anywhere."""
        return bool(self.kills)

    @property
    def node_healthy(self) -> bool:
        """Fewer than half of the workers that ran the node say that it fails.

        What fails in one worker of many is that worker's trouble, and the share of lost nodes
        tells whether it is too much.
        """
        failing = sum(each.failing for each in self.nodes)
        return not failing or 2 * failing < len(self.nodes)

    @property
    def crash_loop(self) -> bool:
        """Workers with the canary die again and again."""
        return incidents(self.silences) >= CRASHES

    def as_json(self) -> dict[str, object]:
        """Write it as JSON values, for the audit."""
        return asdict(self)

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Health:
        """What `as_json` wrote.

        Raises:
            KeyError, TypeError: it did not write this.
        """
        return cls(
            tuple(written["kills"]),
            tuple(NodeReport(**each) for each in written["nodes"]),
            tuple(written["silences"]),
            written["trigger"],
            tuple(written["vetoes"]),
        )


def incidents(silences: Sequence[float]) -> int:
    """How often workers fell silent; `silences` are ages in seconds, rising."""
    return sum(
        1 for at, age in enumerate(silences) if at == 0 or age - silences[at - 1] > TOGETHER_S
    )


@dataclass(frozen=True, slots=True)
class Counters:
    """All of one look; `stages` holds every stage that the epoch has been in, the running one last.

    Attributes:
        scores: metric name → its state; the points belong to the epoch, the mean to the stage.
        look: serial number of the look.
    """

    stages: tuple[StageCounters, ...]
    recent: Recent = Recent()
    health: Health = Health()
    scores: Mapping[str, ScoreState] = field(default_factory=dict)
    look: int = 0
