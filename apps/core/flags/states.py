"""The states of a rollout, and who may move it from one to another.

```
DRAFT → RUNNING(stage) ⇄ HELD      RUNNING | HELD → ROLLING_BACK → ROLLED_BACK
RUNNING(last) → COMPLETED          any → KILLED      ROLLED_BACK | KILLED → RUNNING (new epoch)
```
The controller may only take away, hold, or take the next step of a ladder that a person started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from apps.core.flags.policy import Policy


class State(StrEnum):
    """Where a rollout stands."""

    DRAFT = "DRAFT"
    RUNNING = "RUNNING"
    HELD = "HELD"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    COMPLETED = "COMPLETED"
    KILLED = "KILLED"


class Actor(StrEnum):
    """Who moves a rollout."""

    PERSON = "person"
    CONTROLLER = "controller"


PEOPLE = frozenset({Actor.PERSON})
ANYONE = frozenset(Actor)

TRANSITIONS: Mapping[tuple[State, State], frozenset[Actor]] = MappingProxyType(
    {
        (State.DRAFT, State.RUNNING): PEOPLE,
        (State.RUNNING, State.RUNNING): ANYONE,
        (State.RUNNING, State.HELD): ANYONE,
        (State.HELD, State.RUNNING): PEOPLE,
        (State.RUNNING, State.ROLLING_BACK): ANYONE,
        (State.HELD, State.ROLLING_BACK): ANYONE,
        (State.ROLLING_BACK, State.ROLLED_BACK): ANYONE,
        (State.ROLLED_BACK, State.RUNNING): PEOPLE,
        (State.RUNNING, State.COMPLETED): ANYONE,
        (State.KILLED, State.RUNNING): PEOPLE,
        **{(state, State.KILLED): ANYONE for state in State if state is not State.KILLED},
    }
)
SERVING = frozenset({State.RUNNING, State.HELD})
"""States in which the canary share of the stage is served."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where one attempt (epoch) stands; times are UTC seconds.

    Attributes:
        stage: index into `policy.stages`.
        stage_started_at: when the stage was entered.
        hold_reason, held_by: why and by whom it is HELD.
        forced: a person promoted to this stage against the blockers, so that the relative
            tests only advise in it.
        resumed_at, resumed_requests: when a person last resumed this stage, and the exposures
            that the stage then had; patience starts anew there.
        waived: hold reasons that a person has overruled in this stage.
        ended_at: when it was rolled back or killed.
    """

    policy: Policy
    state: State = State.DRAFT
    stage: int = 0
    epoch: int = 0
    stage_started_at: float = 0.0
    hold_reason: str | None = None
    held_by: Actor | None = None
    forced: bool = False
    resumed_at: float | None = None
    resumed_requests: int = 0
    waived: frozenset[str] = frozenset()
    ended_at: float | None = None

    @property
    def share(self) -> float:
        """Canary share w of the stage, in (0, 1)."""
        return self.policy.share(self.stage)

    @property
    def percent(self) -> float:
        """Units that are in the canary now, 0-100."""
        if self.state is State.COMPLETED:
            return 100.0
        return 100.0 * self.share if self.state in SERVING else 0.0

    @property
    def last(self) -> bool:
        """Whether the ladder ends here."""
        return self.stage == self.policy.last_stage


def allowed(actor: Actor, before: State, after: State) -> bool:
    """Whether `actor` may move a rollout from one state to the other."""
    return actor in TRANSITIONS.get((before, after), frozenset())


def step_allowed(actor: Actor, rollout: Attempt, to_stage: int) -> bool:
    """Whether `actor` may move a running rollout to another stage.

    A person may take any stage; the controller the next, and only of a ladder that is automatic.
    """
    if rollout.state is not State.RUNNING or not 0 <= to_stage <= rollout.policy.last_stage:
        return False
    if actor is Actor.PERSON:
        return to_stage != rollout.stage
    return rollout.policy.auto_promote and not rollout.forced and to_stage == rollout.stage + 1


def start_refusal(rollout: Attempt, *, now: float, force: bool = False) -> str | None:
    """Why a person may not start this rollout now; None if nothing is against it."""
    if not allowed(Actor.PERSON, rollout.state, State.RUNNING) or rollout.state in SERVING:
        return f"It is {rollout.state}."
    rest_s = (rollout.ended_at or 0.0) + rollout.policy.cooldown_s - now
    if rollout.ended_at is None or rest_s <= 0 or force:
        return None
    return f"It cools down for another {rest_s:.0f} s after its rollback."
