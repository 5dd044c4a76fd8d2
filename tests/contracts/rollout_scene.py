"""A rollout on a real database with a clock that stands still, and traffic that a test invents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.flags.catalogue import HostWord
from apps.core.flags.controller import Controller
from apps.core.flags.decision import Action
from apps.core.flags.node_watch import NodeSign
from apps.core.flags.presets import policy_from, policy_json
from apps.core.flags.rollouts import RolloutAdmin, Wanted
from apps.core.flags.signs import report
from apps.core.storage import flag_acks, flag_audit, learning_epochs, rollout_counts, rollouts
from apps.core.storage.engine import Storage
from apps.core.storage.flag_acks import Ack
from apps.core.storage.flag_audit import AuditFilter, AuditRow, Cause
from apps.core.storage.rollout_counts import UNITS, Batch, Cell, Tally, Unit, Vote
from apps.core.storage.rollout_recent import slot_cell
from apps.core.storage.rollouts import Rollout
from tests.fakes.clock import FakeClock

KEY = "debate_mode"
ARMS = ("canary", "control")


class AlwaysLeads:
    """A claim that is never disputed, or was lost."""

    def __init__(self) -> None:
        self.leads = True

    async def hold(self) -> bool:
        return self.leads

    async def release(self) -> None:
        self.leads = False


@dataclass
class Scene:
    """One rollout, its controller and its people."""

    storage: Storage
    clock: FakeClock = field(default_factory=lambda: FakeClock(1_800_000_000.0))
    leader: AlwaysLeads = field(default_factory=AlwaysLeads)
    rollout_id: str = ""
    units: int = 0

    def __post_init__(self) -> None:
        self.admin = RolloutAdmin(self.storage, self.clock)
        self.controller = Controller(self.storage, self.clock, "w1", leader=self.leader)

    def cause(self, reason: str = "") -> Cause:
        return Cause("key:me", "rest", self.clock.now(), reason)

    async def begin(self, policy: Mapping[str, Any] | None = None) -> Rollout:
        """Create and start the rollout."""
        wanted = Wanted(KEY, policy=policy_json(policy_from(dict(policy or {}))))
        made, _ = await self.admin.create(wanted, cause=self.cause())
        self.rollout_id = made["id"]
        await self.admin.start(self.rollout_id, cause=self.cause("go"))
        return await self.row()

    async def row(self) -> Rollout:
        async with self.storage.reading() as s:
            found = await rollouts.find(s, self.rollout_id)
        assert found is not None
        return found

    async def report(self, worker: str, *, failed: int = 0, kills: tuple[str, ...] = ()) -> None:
        """A live worker that ran the node; it fails for `failed` units since it last worked."""
        row = await self.row()
        sign = NodeSign(KEY, row.id, row.epoch, failed + 1, failed)
        said = HostWord(killed=frozenset(kills), kill_place=f"/srv/KILL on {worker}-host")
        async with self.storage.session() as s:
            ack = Ack(worker, f"{worker}-host", 1, report=report(said, [sign]))
            await flag_acks.put(s, ack)

    async def tick(self) -> list[Action]:
        return await self.controller.tick(self.clock.now())

    async def audit(self) -> list[AuditRow]:
        """Every audit row, the newest first; the chain must be whole."""
        async with self.storage.reading() as s:
            assert (await flag_audit.verify(s)).ok
            return await flag_audit.listed(s, AuditFilter())

    async def epochs(self) -> dict[int, str]:
        async with self.storage.reading() as s:
            return {e: state for (_, e), state in (await learning_epochs.states(s, KEY)).items()}

    async def traffic(
        self,
        *,
        canary: int,
        control: int,
        bad: Mapping[str, tuple[int, int]] | None = None,
        scores: Mapping[str, tuple[float, float]] | None = None,
        metrics: tuple[str, ...] = ("error", "node_error"),
        repeat: int = 1,
    ) -> None:
        """Exposures of new units now, as workers report them.

        Args:
            canary, control: new units of the arms; each has `repeat` requests.
            bad: metric to bad units of the arms, all of whose requests are bad.
            scores: metric to what the units of the arms score.
            metrics: that every request has.
            repeat: requests of each unit.
        """
        row, now, bad = await self.row(), self.clock.now(), bad or {}
        place = {arm: Cell(row.id, row.epoch, row.stage_idx, UNITS, arm) for arm in ARMS}
        tallies: dict[Cell, Tally] = {}
        units: list[Unit] = []
        votes: list[Vote] = []
        for arm, count in zip(ARMS, (canary, control), strict=True):
            where = (row.id, row.epoch)
            names = [f"{self.units + n:032x}" for n in range(count)]
            self.units += count
            units += [Unit(*where, name, row.stage_idx, arm, now) for name in names]
            mine = {metric: pair[ARMS.index(arm)] for metric, pair in bad.items()}
            for metric in {*metrics, *bad}:
                failed = mine.get(metric, 0)
                cell = Cell(*where, row.stage_idx, metric, arm)
                tallies[cell] = Tally(n=count * repeat, total=float(failed * repeat))
                votes += [
                    Vote(*where, metric, name, row.stage_idx, arm, now) for name in names[:failed]
                ]
                if failed:
                    tallies[slot_cell(cell, now, metric=metric)] = Tally(n=failed * repeat)
            for metric, pair in (scores or {}).items():
                score = pair[ARMS.index(arm)]
                votes += [
                    Vote(*where, metric, name, row.stage_idx, arm, now, score) for name in names
                ]
            failing = max((mine.get("error", 0), mine.get("node_error", 0)))
            tallies[slot_cell(place[arm], now)] = Tally(
                n=count * repeat, bad=failing * repeat, total=float(count)
            )
        votes.sort(key=lambda vote: vote.unit_hash[::-1])
        async with self.storage.session() as s:
            await rollout_counts.merge(s, Batch(tallies, units, votes))
