"""The row of a rollout as the state that decisions are made of, and back what a person overruled.

The row keeps what a person decided for a stage in the notes of `last_human_action`: they hold as
long as the stage that they were made in, which `stage_started_at` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.flags.policy import Policy
from apps.core.flags.presets import policy_from
from apps.core.flags.rollout import CANARY, CONTROL
from apps.core.flags.states import Actor, Attempt, State
from apps.core.storage.rollout_moves import ENDED
from apps.core.storage.rollouts import Rollout

PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Notes:
    """What a person decided for the running stage.

    Fields:
        stage_started_at: of the stage that they are about.
        trigger: why somebody asked for a rollback that the controller has not done yet.
        others: as in `states.Attempt`.
    """

    stage_started_at: float
    forced: bool = False
    resumed_at: float | None = None
    resumed_requests: int = 0
    waived: tuple[str, ...] = ()
    trigger: str | None = None

    def as_json(self) -> dict[str, object]:
        """Write them for `rollout_moves`."""
        return {
            "stage_started_at": self.stage_started_at,
            "forced": self.forced,
            "resumed_at": self.resumed_at,
            "resumed_requests": self.resumed_requests,
            "waived": list(self.waived),
            "trigger": self.trigger,
        }


def notes_of(row: Rollout) -> Notes:
    """What holds for the running stage; nothing when it began after the notes."""
    started = row.stage_started_at or 0.0
    written: Mapping[str, Any] = (row.last_human_action or {}).get("notes") or {}
    if written.get("stage_started_at") != started:
        return Notes(started)
    return Notes(
        started,
        bool(written["forced"]),
        written["resumed_at"],
        int(written["resumed_requests"]),
        tuple(written["waived"]),
        written.get("trigger"),
    )


def policy_of(row: Rollout) -> Policy:
    """The policy that was fixed when the rollout was made.

    Raises:
        Unprocessable: the row was not written by us.
    """
    # An experiment has no ladder: its one stage says how many take part.
    stages = row.stages if row.kind == "rollout" else (100.0,)
    return policy_from({**row.policy, "stages": stages})


def state_of(row: Rollout) -> Attempt:
    """Where the rollout stands, for `decision.decide`."""
    notes, ended = notes_of(row), row.state in ENDED
    held = row.state == "HELD"
    by = Actor.PERSON if row.hold_reason == PAUSED else Actor.CONTROLLER
    return Attempt(
        policy_of(row),
        State(row.state),
        row.stage_idx,
        attempt_of(row),
        row.stage_started_at or 0.0,
        row.hold_reason,
        by if held else None,
        notes.forced,
        notes.resumed_at,
        notes.resumed_requests,
        frozenset(notes.waived),
        row.updated_at if ended else None,
    )


def arms_of(row: Rollout) -> list[str]:
    """The arms, that which the others are compared with first.

    In an experiment it is `off` or, without it, the first by name: JSON objects have no order.
    """
    if row.kind == "rollout":
        return [CONTROL, CANARY]
    return sorted(row.arms or {}, key=lambda name: (name != "off", name))


def attempt_of(row: Rollout) -> int:
    """The attempt that runs or ran last; the row of one that was stopped names the next."""
    return row.epoch - 1 if row.state in ENDED else row.epoch
