"""What a feature flag is, and what one request was told about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Flag:
    """A named switch, off by default in code; `requires` are flags that must be on too."""

    key: str
    description: str
    requires: tuple[str, ...] = ()

    @property
    def environment_name(self) -> str:
        """The variable that may veto or allow it."""
        return f"FEATURE_{self.key.upper()}"


EVERY_FLAG = "*"
"""Stands for all flags where a flag's key is expected: in kills, the audit and its metric."""

FlagValue = bool | int | float | str | Mapping[str, Any]
"""What a variant stands for; every value of one flag is of one kind."""


@dataclass(frozen=True, slots=True)
class FlagDecision:
    """One flag for one request, frozen.

    on: the value is true.
    reason: OpenFeature's word; layer: ours, the step of the ladder that decided.
    bucket, rollout, epoch, stage: set by a staged rollout.
    variant, value: None leaves the value to the code that asks, which is off.
    arm: `canary`, `control` or an experiment's variant; None does not enter the statistics.
    error: OpenFeature's error code when `reason` is ERROR.
    pool: which of the equally large groups of units this is, none of which spans two arms. A
        cached answer is not counted, so arms must find one equally often: only a pool shares them.
    """

    on: bool
    reason: str
    layer: str
    bucket: int | None = None
    rollout: str | None = None
    variant: str | None = None
    value: FlagValue | None = None
    epoch: int | None = None
    stage: int | None = None
    arm: str | None = None
    error: str | None = None
    pool: int | None = None

    @property
    def active(self) -> bool:
        """Whether it asks for anything: on, or a value; off and no value do not."""
        return self.on or (self.value is not None and self.value is not False)

    @property
    def shared_by(self) -> str:
        """Who may share what was cached for this decision; empty when it is not counted."""
        if self.arm is None or self.rollout is None:
            return ""
        return f"{self.rollout}:{self.epoch}:{self.stage}:{self.pool}"


@dataclass(frozen=True, slots=True)
class Exposed:
    """A flag in an arm, met by a request at the node that it gates.

    rollout, epoch, stage: None for a share that was set by hand, which enters no statistics.
    unit_hash: 32 hexadecimal characters; who a unit is stays unknown.
    sticky: whether the unit may come again; one that is a single request may not.
    """

    flag_key: str
    arm: str
    node: str
    rollout: str | None
    epoch: int | None
    stage: int | None
    unit_hash: str
    sticky: bool


Decisions = Mapping[str, FlagDecision]
