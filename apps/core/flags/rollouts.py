"""What people do with rollouts: make, start, stop, step, and look at them.

Everything that means "more on" is here and needs a person. What the controller may do by itself
is in `controller.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from apps.core.domain.ports import Clock
from apps.core.errors import Blocked, BusinessFailure, NotFound, Unprocessable, VersionConflict
from apps.core.flags import forecast, health, looks, past, rollout_view, vetoes
from apps.core.flags.acks import Acked
from apps.core.flags.catalogue import CATALOGUE
from apps.core.flags.decision import assess
from apps.core.flags.definition import SALT
from apps.core.flags.forecast import Forecast
from apps.core.flags.ladder import SWITCH
from apps.core.flags.looks import Look
from apps.core.flags.policy import Policy
from apps.core.flags.presets import policy_from, policy_json
from apps.core.flags.rollout_rows import Notes, notes_of, policy_of, state_of
from apps.core.flags.rules import Row
from apps.core.flags.states import start_refusal
from apps.core.storage import flag_acks, flag_versions, flags, rollout_moves, rollouts
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause
from apps.core.storage.flags import StoredFlag
from apps.core.storage.rollout_counts import UNITS
from apps.core.storage.rollouts import BUCKET_BY, Rollout, RolloutWish, State

Json = dict[str, Any]
Change = Callable[[Session, Rollout], Awaitable[Rollout | None]]
METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
STALE = "The rollout has just moved; look at it and decide again."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A ladder that a person wants; `policy` names a preset and fields that differ from it."""

    flag_key: str
    stages: tuple[float, ...] | None = None
    bucket_by: tuple[str, ...] = BUCKET_BY
    holdback: float | None = None
    policy: Mapping[str, object] = field(default_factory=dict)


Waiting = Callable[[int], Awaitable[Acked]]


class RolloutAdmin:
    """Rollouts for people; `waiting` waits until workers have seen a version of the flags."""

    def __init__(self, storage: Storage, clock: Clock, *, waiting: Waiting | None = None) -> None:
        self._storage = storage
        self._clock = clock
        self._waiting = waiting

    async def create(self, wanted: Wanted, *, cause: Cause) -> tuple[Json, Forecast]:
        """Store a draft, and say what to expect of it.

        Raises:
            NotFound: there is no such flag.
            Unprocessable: the policy cannot be used, or the flag is no switch.
        """
        asked = dict(wanted.policy)
        if wanted.stages is not None:
            asked["stages"] = wanted.stages
        if wanted.holdback is not None:
            asked["holdback_pct"] = wanted.holdback
        policy = storable(policy_from(asked))
        async with self._storage.session() as s:
            stored = await flags.find(s, wanted.flag_key)
            if True not in variants_of(wanted.flag_key, stored).values():
                raise Unprocessable(f"{wanted.flag_key!r} cannot be on; try it in an experiment.")
            wish = RolloutWish(
                wanted.flag_key,
                policy.stages,
                stored.wish.salt if stored else SALT,
                bucket_by=wanted.bucket_by,
                holdback=policy.holdback_pct,
                policy=policy_json(policy),
            )
            row = await rollouts.create(s, wish, cause=cause)
            lately = await past.read(s, now=cause.at)
        expected = await asyncio.to_thread(forecast.forecast, policy, lately)
        return rollout_view.summary(row), expected

    async def every(
        self, *, flag_key: str | None = None, states: tuple[State, ...] | None = None
    ) -> list[Json]:
        """The newest rollouts, at most 100."""
        async with self._storage.reading() as s:
            rows = await rollouts.listed(s, flag_key=flag_key, states=states)
        return [rollout_view.summary(row) for row in rows if row.kind == "rollout"]

    async def get(self, rollout_id: str) -> Json:
        """A rollout with its arms, evidence, blockers and next action.

        Raises:
            NotFound: there is no such rollout.
        """
        now = self._clock.now()
        async with self._storage.reading() as s:
            look = await looks.read(s, await _found(s, rollout_id), now=now)
        return await asyncio.to_thread(rollout_view.details, look, now=now)

    async def start(
        self, rollout_id: str, *, cause: Cause, force: bool = False, salt: str | None = None
    ) -> Json:
        """Begin an attempt at the first stage; the audit states the α spent in 30 days.

        Args:
            rollout_id: of a draft, or of one that was rolled back or killed.
            cause: who and why.
            force: start although it should cool down after its rollback.
            salt: another one draws an independent cohort.

        Raises:
            BusinessFailure: its state, its flag or the environment of a host forbids it.
        """

        async def change(s: Session, row: Rollout) -> Rollout | None:
            refusal = start_refusal(state_of(row), now=cause.at, force=force)
            if refusal is not None:
                raise BusinessFailure(refusal)
            await refuse_if_off(s, row.flag_key)
            alpha = policy_of(row).alpha
            return await rollout_moves.start(s, row, cause=cause, alpha=alpha, salt=salt)

        return await self._changed(rollout_id, change)

    async def pause(self, rollout_id: str, *, cause: Cause) -> Json:
        """Stop at the present share until a person resumes."""
        return await self._changed(
            rollout_id, lambda s, row: rollout_moves.pause(s, row, cause=cause)
        )

    async def resume(self, rollout_id: str, *, cause: Cause) -> Json:
        """Go on; the reason of the hold is overruled for this stage, and patience starts anew."""

        async def change(s: Session, row: Rollout) -> Rollout | None:
            look, before = await looks.read(s, row, now=cause.at), notes_of(row)
            waived = {*before.waived, *({row.hold_reason} if row.hold_reason else set())}
            notes = replace(
                before,
                resumed_at=cause.at,
                resumed_requests=look.counters.stages[-1].requests,
                waived=tuple(sorted(waived)),
            )
            return await rollout_moves.resume(s, row, cause=cause, notes=notes.as_json())

        return await self._changed(rollout_id, change)

    async def promote(
        self, rollout_id: str, *, cause: Cause, to_stage: int | None = None, force: bool = False
    ) -> Json:
        """Take the next stage, or any; at the last stage end the holdback.

        Raises:
            Blocked: something is missing for the step, and `force` is not said.
        """

        async def change(s: Session, row: Rollout) -> Rollout | None:
            missing = _missing(await looks.read(s, row, now=cause.at), to_stage, now=cause.at)
            # Of one that is not under way, its state is what is told.
            if missing and not force and row.state in rollouts.ACTIVE:
                raise Blocked(f"Blocked by {', '.join(missing)}.", missing)
            if to_stage is None and row.stage_idx == len(row.stages) - 1:
                return await rollout_moves.complete(s, row, cause=cause)
            notes = Notes(cause.at, forced=bool(missing)).as_json()
            return await rollout_moves.promote(s, row, cause=cause, to_stage=to_stage, notes=notes)

        return await self._changed(rollout_id, change)

    async def roll_back(
        self, rollout_id: str, *, cause: Cause, wait: bool = False
    ) -> tuple[Json, Acked | None]:
        """Take the flag from everybody; with `wait` say who has switched."""
        told = await self._changed(
            rollout_id, lambda s, row: rollout_moves.roll_back(s, row, cause=cause)
        )
        if not wait or self._waiting is None:
            return told, None
        async with self._storage.reading() as s:
            version = (await flag_versions.read(s)).version
        return told, await self._waiting(version)

    async def trigger(self, name: str, *, cause: Cause) -> Json:
        """Ask for a rollback that whoever leads does at the next look, with the evidence so far.

        Args:
            name: of the rollout, or of its flag, which is what an alarm knows.
            cause: who and why.

        Raises:
            NotFound: there is no such rollout, or the flag has none under way.
            BusinessFailure: it is neither running nor held.
        """

        async def change(s: Session, row: Rollout) -> Rollout | None:
            notes = replace(notes_of(row), trigger=cause.reason or "triggered")
            asked = replace(cause, evidence={"trigger": notes.trigger})
            return await rollout_moves.trigger(s, row, cause=asked, notes=notes.as_json())

        async with self._storage.reading() as s:
            under_way = await rollouts.active(s, name)
        own = under_way is not None and under_way.kind == "rollout"
        return await self._changed(under_way.id if under_way and own else name, change)

    async def _changed(self, rollout_id: str, change: Change) -> Json:
        async with self._storage.session() as s:
            moved = await change(s, await _found(s, rollout_id))
            if moved is None:
                raise VersionConflict(STALE)
        return rollout_view.summary(moved)


def storable(policy: Policy) -> Policy:
    """The policy as it comes back from the database.

    Raises:
        Unprocessable: a number is none of JSON, or a metric's name cannot be one.
    """
    for metric in policy.metrics:
        if not METRIC_NAME.fullmatch(str(metric.name)) or metric.name == UNITS:
            raise Unprocessable(f"A metric cannot be called {metric.name!r}.")
    try:
        # What JSON cannot say, orjson writes as null, which `policy_from` refuses.
        return policy_from(orjson.loads(orjson.dumps(policy_json(policy))))
    except TypeError as error:
        raise Unprocessable("The policy holds a number that is too large.") from error


def variants_of(key: str, stored: StoredFlag | None) -> Mapping[str, Any]:
    """Name to value, of a flag that the code or SQL knows.

    Raises:
        NotFound: neither does.
    """
    if stored is None and all(flag.key != key for flag in CATALOGUE):
        raise NotFound(f"There is no flag {key!r}.")
    definition = stored.wish.definition if stored else None
    return SWITCH if definition is None else definition["variants"]


async def _found(s: Session, rollout_id: str) -> Rollout:
    row = await rollouts.find(s, rollout_id)
    if row is None or row.kind != "rollout":
        raise NotFound(f"There is no rollout {rollout_id!r}.")
    return row


def _missing(look: Look, to_stage: int | None, *, now: float) -> Sequence[str]:
    """What blocks a step up; nothing blocks a step down."""
    if to_stage is not None and to_stage < look.row.stage_idx:
        return ()
    found = assess(look.state, look.counters, now=now)
    alarm = (found.row.name.lower(),) if found.row < Row.READY else ()
    return (*alarm, *found.blockers)


async def refuse_if_off(s: Session, flag_key: str) -> None:
    """Refuse to begin what could not be seen.

    Raises:
        BusinessFailure: the flag is killed, in the database or by the KILL file of a host.
        EnvironmentVeto: the environment of a host forbids it.
    """
    live = await flag_acks.live(s)
    killed = await health.kills(s, flag_key, live)
    if killed:
        places = "; ".join(killed)
        raise BusinessFailure(f"The flag {flag_key!r} is killed; end that first: {places}.")
    vetoes.refuse(flag_key, vetoes.hosts_against(flag_key, live))
