"""What the workers have counted of one epoch, as the controller sees it at one look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from apps.core.flags.evidence import ScoreState


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
class Health:
    """What is known without counting.

    Attributes:
        killed: the flag is killed.
        node_healthy: the health check of the flag's node.
        crash_loop: workers with the canary die again and again.
        trigger: reason of a rollback that somebody asked for; None is nobody.
        vetoes: `host: FEATURE_X=false` for each host whose environment forbids the flag.
    """

    killed: bool = False
    node_healthy: bool = True
    crash_loop: bool = False
    trigger: str | None = None
    vetoes: tuple[str, ...] = ()


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
