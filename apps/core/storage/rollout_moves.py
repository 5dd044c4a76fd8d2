"""The moves of a rollout, each one unit of work: the row, its epoch, the audit, the version.

A mover hands over the rollout as it read it. The row changes only if its version and epoch are
still those, so of any number of racing controllers exactly one moves it and the others get None.
The automatic actor (source `controller`) may hold, take the next stage, complete, roll back and
kill; everything that means "more on" otherwise belongs to people.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import and_, update

from apps.core.errors import BusinessFailure
from apps.core.storage import flag_versions, learning_epochs, rollouts
from apps.core.storage.connections import Session
from apps.core.storage.flag_audit import Cause, Facts
from apps.core.storage.flag_tables import flag_rollout
from apps.core.storage.learning_epochs import EpochState
from apps.core.storage.rollouts import ACTIVE, Rollout, State

ALPHA_WINDOW_S = 30 * 86_400.0
ENDED: tuple[State, ...] = ("ROLLED_BACK", "KILLED")


async def start(
    s: Session, seen: Rollout, *, cause: Cause, alpha: float, salt: str | None = None
) -> Rollout | None:
    """Begin an attempt at the first stage, with empty counters.

    The audit row's evidence states the α that the flag's attempts spent in the 30 days before.

    Args:
        alpha: chance of a false rollback that this attempt may spend.
        salt: a new one draws an independent cohort; None keeps the old one.

    Returns:
        The running rollout; None when somebody else was first.

    Raises:
        BusinessFailure: the automatic actor asks, the state forbids it, or another rollout of
            the flag is under way.
    """
    _people_only(cause, "starts a rollout")
    _check(seen, ("DRAFT", *ENDED), "start")
    await flag_versions.lock(s)
    other = await rollouts.active(s, seen.flag_key)
    if other is not None and other.id != seen.id:
        raise BusinessFailure(f"Rollout {other.id!r} of {seen.flag_key!r} is under way.")
    values = {**_stage(seen, 0, cause), "started_at": cause.at, "salt": salt or seen.salt}
    moved = await _set(s, seen, values, cause, notes={})
    if moved is None:
        return None
    since = cause.at - ALPHA_WINDOW_S
    spent = await learning_epochs.alpha_spent(s, seen.flag_key, since=since)
    await learning_epochs.begin(
        s, seen.id, moved.epoch, flag_key=seen.flag_key, alpha=alpha, now=cause.at
    )
    facts = {**(cause.evidence or {}), "alpha": alpha, "alpha_spent_30d": spent}
    return await _record(s, seen, moved, replace(cause, evidence=facts))


async def hold(s: Session, seen: Rollout, *, cause: Cause, hold_reason: str) -> Rollout | None:
    """Stop at the present share; None when somebody else was first.

    Raises:
        BusinessFailure: it is not running.
    """
    _check(seen, ("RUNNING",), "hold")
    return await _move(s, seen, {"state": "HELD", "hold_reason": hold_reason}, cause)


async def pause(s: Session, seen: Rollout, *, cause: Cause) -> Rollout | None:
    """Hold because a person wants it; as `hold`."""
    return await hold(s, seen, cause=cause, hold_reason="paused")


async def resume(
    s: Session, seen: Rollout, *, cause: Cause, notes: Facts | None = None
) -> Rollout | None:
    """Go on where it was held; None when somebody else was first.

    Args:
        notes: what is to be remembered of this action until the next one of a person.

    Raises:
        BusinessFailure: the automatic actor asks, or it is not held.
    """
    _people_only(cause, "resumes a rollout")
    _check(seen, ("HELD",), "resume")
    return await _move(s, seen, {"state": "RUNNING", "hold_reason": None}, cause, notes=notes)


async def promote(
    s: Session,
    seen: Rollout,
    *,
    cause: Cause,
    to_stage: int | None = None,
    notes: Facts | None = None,
) -> Rollout | None:
    """Take the next stage, or for a person any stage; None when somebody else was first.

    Args:
        notes: as of `resume`.

    Raises:
        BusinessFailure: the state forbids it, there is no such stage, or the automatic actor
            asks for another stage than the next or for one that is held.
    """
    stage_idx = seen.stage_idx + 1 if to_stage is None else to_stage
    _check(seen, ACTIVE, "promote")
    if seen.state == "HELD" or stage_idx != seen.stage_idx + 1:
        _people_only(cause, "changes the stages of a rollout")
    if not 0 <= stage_idx < len(seen.stages) or stage_idx == seen.stage_idx:
        raise BusinessFailure(f"Rollout {seen.id!r} cannot go to stage {stage_idx}.")
    return await _move(s, seen, _stage(seen, stage_idx, cause), cause, notes=notes)


async def complete(s: Session, seen: Rollout, *, cause: Cause) -> Rollout | None:
    """Give the flag to everybody and accept what it learned; None when somebody was first.

    Raises:
        BusinessFailure: it is not running at its last stage.
    """
    _check(seen, ("RUNNING",), "complete")
    if seen.stage_idx != len(seen.stages) - 1:
        raise BusinessFailure(f"Rollout {seen.id!r} is not at its last stage.")
    values = {"state": "COMPLETED", "percent": 100.0, "holdback": 0.0}
    return await _move(s, seen, values, cause, epoch_ends="accepted")


async def roll_back(s: Session, seen: Rollout, *, cause: Cause) -> Rollout | None:
    """Take the flag from everybody and quarantine what it learned; None if somebody was first.

    Raises:
        BusinessFailure: it is neither running nor held.
    """
    _check(seen, ACTIVE, "roll back")
    return await _move(s, seen, _off(seen, "ROLLED_BACK"), cause, epoch_ends="quarantined")


async def kill(s: Session, seen: Rollout, *, cause: Cause) -> Rollout | None:
    """End an attempt because its flag was killed; as `roll_back`."""
    _check(seen, ACTIVE, "kill")
    return await _move(s, seen, _off(seen, "KILLED"), cause, epoch_ends="quarantined")


async def supersede(s: Session, seen: Rollout, *, cause: Cause) -> bool:
    """Let a rollout that is over serve no more, because a person decides about its flag anew.

    It is a part of that decision, whose audit row and version tell it.

    Returns:
        False when somebody else has moved it meanwhile.

    Raises:
        BusinessFailure: it is not over, or the automatic actor asks.
    """
    _people_only(cause, "decides about a flag after a rollout")
    _check(seen, (*ENDED, "COMPLETED"), "supersede")
    await flag_versions.lock(s)
    return await _set(s, seen, {"state": seen.state}, cause, action=rollouts.SUPERSEDED) is not None


async def trigger(s: Session, seen: Rollout, *, cause: Cause, notes: Facts) -> Rollout | None:
    """Ask the controller for a rollback at its next look; None when somebody else was first.

    Raises:
        BusinessFailure: it is neither running nor held, or the automatic actor asks.
    """
    _people_only(cause, "triggers a rollback")
    _check(seen, ACTIVE, "be triggered")
    return await _move(s, seen, {}, cause, notes=notes, action=rollouts.TRIGGERED)


async def freeze_tau(s: Session, seen: Rollout, tau: Facts, *, now: float) -> Rollout | None:
    """Store the limits of the present stage; nothing but how events are judged changes.

    Returns:
        The rollout with its limits; None when it has moved meanwhile.
    """
    await flag_versions.lock(s)
    frozen = await _compare_and_set(s, seen, {"tau": dict(tau), "updated_at": now})
    if frozen is not None:
        await flag_versions.advance(s)
    return frozen


async def _move(
    s: Session,
    seen: Rollout,
    values: Facts,
    cause: Cause,
    *,
    epoch_ends: EpochState | None = None,
    notes: Facts | None = None,
    action: str | None = None,
) -> Rollout | None:
    await flag_versions.lock(s)
    moved = await _set(s, seen, values, cause, notes=notes, action=action)
    if moved is None:
        return None
    if epoch_ends is not None:
        await learning_epochs.end(s, seen.id, seen.epoch, state=epoch_ends, now=cause.at)
    return await _record(s, seen, moved, cause)


async def _set(
    s: Session,
    seen: Rollout,
    values: Facts,
    cause: Cause,
    *,
    action: str | None = None,
    notes: Facts | None = None,
) -> Rollout | None:
    changed = {**values, "updated_at": cause.at}
    if cause.source != "controller":
        kept = (seen.last_human_action or {}).get("notes") if notes is None else dict(notes)
        changed["last_human_action"] = {
            "actor": cause.actor,
            "source": cause.source,
            "state": action or values.get("state", seen.state),
            "stage_idx": values.get("stage_idx", seen.stage_idx),
            "reason": cause.reason,
            "at": cause.at,
            **({"notes": kept} if kept else {}),
        }
    return await _compare_and_set(s, seen, changed)


async def _compare_and_set(s: Session, seen: Rollout, values: Facts) -> Rollout | None:
    unmoved = and_(
        flag_rollout.c.id == seen.id,
        flag_rollout.c.version == seen.version,
        flag_rollout.c.epoch == seen.epoch,
    )
    moved = update(flag_rollout).where(unmoved).values(**values, version=seen.version + 1)
    row = (await s.execute(moved.returning(flag_rollout))).mappings().first()
    return rollouts.from_row(row) if row else None


async def _record(s: Session, seen: Rollout, moved: Rollout, cause: Cause) -> Rollout:
    states = (rollouts.audited(seen), rollouts.audited(moved))
    await flag_versions.changed(s, cause, flag_key=seen.flag_key, before=states[0], after=states[1])
    return moved


def _stage(seen: Rollout, stage_idx: int, cause: Cause) -> dict[str, object]:
    return {
        "state": "RUNNING",
        "stage_idx": stage_idx,
        "percent": seen.stages[stage_idx],
        "stage_started_at": cause.at,
        "tau": None,
        "hold_reason": None,
    }


def _off(seen: Rollout, state: State) -> dict[str, object]:
    return {"state": state, "percent": 0.0, "epoch": seen.epoch + 1, "hold_reason": None}


def _check(seen: Rollout, allowed: tuple[State, ...], verb: str) -> None:
    if seen.state not in allowed:
        raise BusinessFailure(f"Rollout {seen.id!r} is {seen.state}; it cannot {verb}.")


def _people_only(cause: Cause, deed: str) -> None:
    if cause.source == "controller":
        raise BusinessFailure(f"Only a person {deed}.")
