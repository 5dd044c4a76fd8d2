"""What the routes ask of rollouts and experiments, in the routes' words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RolloutAct:
    """Who acts on a rollout, and why."""

    actor: str
    reason: str = ""


class Rollouts(Protocol):
    """Staged rollouts as people see and move them, in the words of `schemas/rollouts.py`.

    An unknown id is a NotFound everywhere, a move that is not possible now a BusinessFailure.
    """

    async def create(self, wanted: Mapping[str, Any], *, act: RolloutAct) -> dict[str, Any]:
        """A draft with its forecast."""

    async def every(self, *, flag_key: str | None = None) -> Sequence[dict[str, Any]]:
        """The newest."""

    async def get(self, rollout_id: str) -> dict[str, Any]:
        """One of them with its evidence."""

    async def start(
        self, rollout_id: str, *, act: RolloutAct, force: bool, salt: str | None
    ) -> dict[str, Any]:
        """Begin an attempt."""

    async def pause(self, rollout_id: str, *, act: RolloutAct) -> dict[str, Any]:
        """Hold it."""

    async def resume(self, rollout_id: str, *, act: RolloutAct) -> dict[str, Any]:
        """Go on."""

    async def promote(
        self, rollout_id: str, *, act: RolloutAct, to_stage: int | None, force: bool
    ) -> dict[str, Any]:
        """Take a step."""

    async def roll_back(self, rollout_id: str, *, act: RolloutAct, wait: bool) -> dict[str, Any]:
        """Take the flag from everybody."""

    async def trigger(self, name: str, *, act: RolloutAct) -> dict[str, Any]:
        """Have the controller take the flag from everybody; by the flag's key too."""


class Experiments(Protocol):
    """Experiments in the words of `schemas/experiments.py`; failures as of `Rollouts`."""

    async def create(self, wanted: Mapping[str, Any], *, act: RolloutAct) -> dict[str, Any]:
        """A draft."""

    async def every(self) -> Sequence[dict[str, Any]]:
        """The newest."""

    async def get(self, experiment_id: str) -> dict[str, Any]:
        """The result so far."""

    async def start(self, experiment_id: str, *, act: RolloutAct) -> dict[str, Any]:
        """Begin an attempt."""

    async def stop(self, experiment_id: str, *, act: RolloutAct) -> dict[str, Any]:
        """End it."""
