"""The controller: one worker looks at every rollout each second and does what the rules say.

It may hold, take the next step of a ladder that a person started, or take away; the moves of
`rollout_moves` refuse everything else. Each look reads all it needs from SQL, so whoever leads
next goes on where this one stopped, whatever it was doing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from apps.core.domain.ports import Clock
from apps.core.errors import BusinessFailure, StorageDown
from apps.core.flags import health, looks, rollout_votes, thresholds
from apps.core.flags.decision import Action, Complete, Hold, Kill, Promote, Rollback, Stay, decide
from apps.core.flags.looks import Look
from apps.core.flags.rollout_rows import policy_of
from apps.core.flags.states import State
from apps.core.storage import rollout_evidence, rollout_moves, rollouts
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause
from apps.core.storage.leader import Leader, leader_of
from apps.core.storage.rollouts import ACTIVE, Rollout
from apps.core.telemetry import metrics

TICK_S = 1.0
ACTOR = "controller"
MOST_ACTIVE = 1_000
EVENTS: dict[type[Action], str] = {
    Hold: "rollout.held",
    Promote: "rollout.promoted",
    Rollback: "rollout.rolled_back",
    Complete: "rollout.completed",
    Kill: "rollout.killed",
}
log = structlog.get_logger(__name__)


class Controller:
    """Decides about rollouts while this worker leads.

    Args:
        storage: the database that all workers share.
        clock: dates looks and decisions; who leads is a matter of the database's own clock.
        worker_id: unique among workers, at most 80 characters.
        leader: the claim to lead; the database's when absent.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        worker_id: str,
        *,
        leader: Leader | None = None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._leader = leader or leader_of(storage, worker_id)
        self._limits = thresholds.Thresholds(storage)
        self._leads = False

    async def run(self) -> None:
        """Lead whenever nobody else does, until cancelled."""
        try:
            while True:
                if await self._lead():
                    await self._ticked()
                await asyncio.sleep(TICK_S)
        finally:
            await self._leader.release()

    async def tick(self, now: float) -> list[Action]:
        """Look once at every rollout; return what was decided and done.

        Raises:
            StorageDown: the database is away.
        """
        async with self._storage.reading() as s:
            rows = await rollouts.listed(s, states=ACTIVE, limit=MOST_ACTIVE)
            shown = await rollouts.current(s)
        done = []
        for row in rows:
            action = await self._looked(row, now)
            if action is not None:
                done.append(action)
        _show(shown)
        return done

    async def _lead(self) -> bool:
        leads = await self._leader.hold()
        if leads != self._leads:
            log.info("rollout.lead_taken" if leads else "rollout.lead_lost")
        self._leads = leads
        return leads

    async def _ticked(self) -> None:
        try:
            await self.tick(self._clock.now())
        except StorageDown as error:
            log.warning("rollout.tick_failed", code=error.code)
        except Exception:
            # Nothing is half done: every decision is one unit of work. The next tick looks again.
            log.exception("rollout.tick_failed")

    async def _looked(self, row: Rollout, now: float) -> Action | None:
        """Decide about one rollout; a failure of one must not keep the others waiting."""
        try:
            return await self._look(row, now)
        except (StorageDown, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("rollout.look_failed", rollout=row.id, flag=row.flag_key)
            return None

    async def _look(self, row: Rollout, now: float) -> Action | None:
        if row.kind == "experiment":
            if not await self._ended(row, now):
                await self._limits.freeze(row, policy_of(row), now=now)
            return None
        async with self._storage.reading() as s:
            look = await looks.read(s, row, now=now)
        action = decide(look.state, look.counters, now=now)
        if isinstance(action, Stay):
            await self._remember(look, now)
            await self._limits.freeze(row, look.state.policy, now=now)
            _show_evidence(row, action)
            return None
        # A look may take long; whoever lost the lead meanwhile leaves the deed to the next leader.
        if not await self._lead():
            return None
        return action if await self._done(look, action, now) else None

    async def _ended(self, row: Rollout, now: float) -> bool:
        """An experiment is begun and ended by people; it only follows the kill of its flag."""
        async with self._storage.reading() as s:
            found = await health.read(s, row, now=now)
        if not found.killed or not await self._lead():
            return found.killed
        async with self._storage.session() as s:
            await rollout_moves.kill(
                s, row, cause=Cause(ACTOR, "controller", now, "killed", {"signs": found.as_json()})
            )
        log.warning("rollout.killed", rollout=row.id, flag=row.flag_key)
        return True

    async def _remember(self, look: Look, now: float) -> None:
        if look.news:
            async with self._storage.session() as s:
                await _keep(s, look, now)

    async def _done(self, look: Look, action: Action, now: float) -> bool:
        facts = {**action.evidence.as_json(), **look.provenance()}
        reason = str(getattr(action, "reason", "")) or action.evidence.row.name.lower()
        cause = Cause(ACTOR, "controller", now, reason, facts)
        try:
            async with self._storage.session() as s:
                moved = await _move(s, look.row, action, cause)
                if moved is not None:
                    await _keep(s, look, now)
        except BusinessFailure as error:
            log.warning("rollout.refused", rollout=look.row.id, error=error.detail)
            return False
        if moved is None:
            return False  # a person, or another controller, was first
        log.warning(
            EVENTS[type(action)],
            rollout=moved.id,
            flag=moved.flag_key,
            reason=reason,
            stage=moved.stage_idx,
            percent=moved.percent,
            combined_e=facts["combined_E"],
        )
        _show_evidence(look.row, action)
        return True


async def _move(s: Session, seen: Rollout, action: Action, cause: Cause) -> Rollout | None:
    match action:
        case Hold(reason=reason):
            return await rollout_moves.hold(s, seen, cause=cause, hold_reason=reason[:64])
        case Promote(stage=stage):
            return await rollout_moves.promote(s, seen, cause=cause, to_stage=stage)
        case Rollback():
            return await rollout_moves.roll_back(s, seen, cause=cause)
        case Complete():
            return await rollout_moves.complete(s, seen, cause=cause)
        case _:
            return await rollout_moves.kill(s, seen, cause=cause)


async def _keep(s: Session, look: Look, now: float) -> None:
    """Keep how far the votes were read; a later look of somebody else stays."""
    policy, key = look.state.policy, (look.row.id, look.state.epoch)
    fold = rollout_votes.looked(look.fold)
    for row in rollout_votes.rows_of(fold, key=key, policy=policy, at=now):
        await rollout_evidence.put(s, row)


def _show(shown: Sequence[Rollout]) -> None:
    for row in shown:
        metrics.rollout_percent.of(row.flag_key).set(row.percent)
        for state in State:
            metrics.rollout_state.of(row.flag_key, state.value).set(row.state == state.value)


def _show_evidence(row: Rollout, action: Action) -> None:
    proof = action.evidence.proof
    found = {each.metric.name: each.log_e for each in proof.metrics}
    for name, log_e in {**found, "combined": proof.log_harm, "srm": proof.log_srm}.items():
        if log_e is not None:
            metrics.rollout_log_e.of(row.flag_key, name).set(log_e)
