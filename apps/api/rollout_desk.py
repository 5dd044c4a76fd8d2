"""Rollouts and experiments over SQL as the routes ask for them, see `rollout_ports.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from apps.api.rollout_ports import RolloutAct
from apps.core.domain.ports import Clock
from apps.core.flags import acks
from apps.core.flags.experiments import ExperimentAdmin, WantedExperiment
from apps.core.flags.rollouts import RolloutAdmin, Wanted
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause

Json = dict[str, Any]


class SqlRollouts:
    """What people do, dated by the service's clock."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        waiting = partial(acks.wait_for, storage, clock=clock)
        self._admin = RolloutAdmin(storage, clock, waiting=waiting)
        self._clock = clock

    async def create(self, wanted: Mapping[str, Any], *, act: RolloutAct) -> Json:
        """A draft with its forecast."""
        stages = wanted["stages"]
        wish = Wanted(
            wanted["flag_key"],
            None if stages is None else tuple(stages),
            tuple(wanted["bucket_by"]),
            wanted["holdback"],
            wanted["policy"],
        )
        made, expected = await self._admin.create(wish, cause=self._cause(act))
        return {**made, "forecast": expected.as_json(), "warnings": list(expected.warnings)}

    async def every(self, *, flag_key: str | None = None) -> Sequence[Json]:
        """The newest."""
        return await self._admin.every(flag_key=flag_key)

    async def get(self, rollout_id: str) -> Json:
        """One of them with its evidence."""
        return await self._admin.get(rollout_id)

    async def start(
        self, rollout_id: str, *, act: RolloutAct, force: bool, salt: str | None
    ) -> Json:
        """Begin an attempt."""
        return await self._admin.start(rollout_id, cause=self._cause(act), force=force, salt=salt)

    async def pause(self, rollout_id: str, *, act: RolloutAct) -> Json:
        """Hold it."""
        return await self._admin.pause(rollout_id, cause=self._cause(act))

    async def resume(self, rollout_id: str, *, act: RolloutAct) -> Json:
        """Go on."""
        return await self._admin.resume(rollout_id, cause=self._cause(act))

    async def promote(
        self, rollout_id: str, *, act: RolloutAct, to_stage: int | None, force: bool
    ) -> Json:
        """Take a step."""
        cause = self._cause(act)
        return await self._admin.promote(rollout_id, cause=cause, to_stage=to_stage, force=force)

    async def roll_back(self, rollout_id: str, *, act: RolloutAct, wait: bool) -> Json:
        """Take the flag from everybody."""
        told, acked = await self._admin.roll_back(rollout_id, cause=self._cause(act), wait=wait)
        if acked is None:
            return told
        return {**told, **acked.as_json()}

    async def trigger(self, name: str, *, act: RolloutAct) -> Json:
        """Have the controller take the flag from everybody."""
        return await self._admin.trigger(name, cause=self._cause(act))

    def _cause(self, act: RolloutAct) -> Cause:
        return Cause(act.actor, "rest", self._clock.now(), act.reason)


class SqlExperiments:
    """What people do with experiments."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._admin = ExperimentAdmin(storage, clock)
        self._clock = clock

    async def create(self, wanted: Mapping[str, Any], *, act: RolloutAct) -> Json:
        """A draft."""
        lists = {name: tuple(wanted[name]) for name in ("bucket_by", "guardrails")}
        fields = {**wanted, **lists}
        return await self._admin.create(WantedExperiment(**fields), cause=self._cause(act))

    async def every(self) -> Sequence[Json]:
        """The newest."""
        return await self._admin.every()

    async def get(self, experiment_id: str) -> Json:
        """The result so far."""
        return await self._admin.get(experiment_id)

    async def start(self, experiment_id: str, *, act: RolloutAct) -> Json:
        """Begin an attempt."""
        return await self._admin.start(experiment_id, cause=self._cause(act))

    async def stop(self, experiment_id: str, *, act: RolloutAct) -> Json:
        """End it."""
        return await self._admin.stop(experiment_id, cause=self._cause(act))

    def _cause(self, act: RolloutAct) -> Cause:
        return Cause(act.actor, "rest", self._clock.now(), act.reason)
