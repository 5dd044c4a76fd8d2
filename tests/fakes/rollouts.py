"""Rollouts in a dictionary, with the real rules of policies and none of statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.api.rollout_ports import RolloutAct
from apps.core.errors import BusinessFailure, NotFound
from apps.core.flags.counters import Counters, StageCounters
from apps.core.flags.looks import Look
from apps.core.flags.presets import policy_from, policy_json
from apps.core.flags.rollout_rows import state_of
from apps.core.flags.rollout_view import details, summary
from apps.core.flags.rollout_votes import Fold
from apps.core.flags.rollouts import storable
from apps.core.storage.rollouts import Rollout


class FakeRollouts:
    """By id."""

    def __init__(self) -> None:
        self.rows: dict[str, Rollout] = {}

    async def create(self, wanted: Mapping[str, Any], *, act: RolloutAct) -> dict[str, Any]:
        asked = dict(wanted["policy"])
        if wanted["stages"] is not None:
            asked["stages"] = wanted["stages"]
        if wanted["holdback"] is not None:
            asked["holdback_pct"] = wanted["holdback"]
        policy = storable(policy_from(asked))
        row = Rollout(
            f"ro_{len(self.rows)}", wanted["flag_key"], "rollout", None, "s1",
            tuple(wanted["bucket_by"]), policy.stages, 0, 0.0, policy.holdback_pct, "DRAFT",
            policy_json(policy), 1, None, None, None, None, None, 1, 0.0, 0.0,
        )  # fmt: skip
        self.rows[row.id] = row
        return {**summary(row), "forecast": {"per_s": 0.0, "stages": []}, "warnings": []}

    async def every(self, *, flag_key: str | None = None) -> Sequence[dict[str, Any]]:
        return [summary(row) for row in self.rows.values() if flag_key in {None, row.flag_key}]

    async def get(self, rollout_id: str) -> dict[str, Any]:
        row = self._row(rollout_id)
        state = state_of(row)
        counters = Counters((StageCounters(state.share),))
        return details(Look(row, state, counters, (0,), Fold(), False), now=1.0)

    async def start(
        self, rollout_id: str, *, act: RolloutAct, force: bool, salt: str | None
    ) -> dict[str, Any]:
        return summary(self._row(rollout_id))

    async def pause(self, rollout_id: str, *, act: RolloutAct) -> dict[str, Any]:
        self._row(rollout_id)
        raise BusinessFailure("It is a DRAFT.")

    async def resume(self, rollout_id: str, *, act: RolloutAct) -> dict[str, Any]:
        return summary(self._row(rollout_id))

    async def promote(
        self, rollout_id: str, *, act: RolloutAct, to_stage: int | None, force: bool
    ) -> dict[str, Any]:
        return summary(self._row(rollout_id))

    async def roll_back(self, rollout_id: str, *, act: RolloutAct, wait: bool) -> dict[str, Any]:
        return summary(self._row(rollout_id))

    async def trigger(self, name: str, *, act: RolloutAct) -> dict[str, Any]:
        return summary(self._row(name))

    def _row(self, rollout_id: str) -> Rollout:
        if rollout_id not in self.rows:
            raise NotFound(f"There is no rollout {rollout_id!r}.")
        return self.rows[rollout_id]


class FakeExperiments:
    """Drafts only."""

    async def create(self, wanted: Mapping[str, Any], *, act: RolloutAct) -> dict[str, Any]:
        return {
            **wanted, "id": "ro_x", "state": "DRAFT", "epoch": 1, "started_at": None,
            "created_at": 1.0, "version": 1,
        }  # fmt: skip

    async def every(self) -> Sequence[dict[str, Any]]:
        return []

    async def get(self, experiment_id: str) -> dict[str, Any]:
        raise NotFound(f"There is no experiment {experiment_id!r}.")

    async def start(self, experiment_id: str, *, act: RolloutAct) -> dict[str, Any]:
        raise NotFound(f"There is no experiment {experiment_id!r}.")

    async def stop(self, experiment_id: str, *, act: RolloutAct) -> dict[str, Any]:
        raise NotFound(f"There is no experiment {experiment_id!r}.")
