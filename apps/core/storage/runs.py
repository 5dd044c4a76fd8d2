"""Runs of questions that nobody need wait for: a leased job each, and what it has told so far.

A run's state, lease and end are those of its job. Its events are rows that only the worker which
holds the lease may add, so what a reader has seen is never told differently by another worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, and_, delete, func, select, update

from apps.core.storage import changes, jobs
from apps.core.storage.connections import Session, insert
from apps.core.storage.jobs import ANSWER, FREE, LEASE_S, Job
from apps.core.storage.tables import job, run_event

TOPIC = "runs"
KEPT_S = 300.0
READ = 0
"""The ordinal of the row which says that somebody has begun to read."""
ENDED = ("done", "failed", "cancelled")
RunState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended; code and sentence only of a failure."""

    state: RunState
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run as it is known to every worker; `payload` is the caller's own."""

    id: str
    state: RunState
    events: int
    payload: Mapping[str, Any] = field(default_factory=dict)
    error_code: str | None = None
    error: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED


async def accept(s: Session, run_id: str, payload: Mapping[str, Any], *, now: float) -> None:
    """Queue a run and tell every worker."""
    await jobs.enqueue(s, Job(run_id, ANSWER, payload), now=now)
    await changes.bump(s, TOPIC)


async def waiting(s: Session) -> int:
    """How many runs wait for a worker."""
    query = select(func.count()).where(job.c.kind == ANSWER, job.c.state == "queued")
    return int((await s.execute(query)).scalar_one())


async def get(s: Session, run_id: str, *, now: float) -> KeptRun | None:
    """A run that goes on, or ended less than `KEPT_S` ago."""
    found = await jobs.get(s, run_id)
    if found is None or found.kind != ANSWER:
        return None
    run = _run(found)
    return None if run.over and run.updated_at < now - KEPT_S else run


async def frames(s: Session, run_id: str, *, after: int = 0) -> list[str]:
    """What a run has told behind the frame of this number, in order."""
    query = select(run_event.c.frame).where(
        run_event.c.job_id == run_id, run_event.c.ordinal > max(after, READ)
    )
    return list((await s.execute(query.order_by(run_event.c.ordinal))).scalars())


async def note_reader(s: Session, run_id: str) -> None:
    """Remember that from now on somebody may have seen what the run tells."""
    # The lock that `begin` takes too: either it keeps what was told, or none of it is read.
    locked = select(job.c.id).where(job.c.id == run_id).with_for_update()
    if (await s.execute(locked)).first() is not None:
        row = {"job_id": run_id, "ordinal": READ, "frame": ""}
        await s.execute(insert(s, run_event).values(row).on_conflict_do_nothing())


async def begin(s: Session, worker: str, run_id: str) -> list[str] | None:
    """Start, or start again after another worker; None when the lease is lost.

    Returns:
        What was told before and must be held to; nothing when nobody has begun to read it.
    """
    mine = update(job).where(_held(worker), job.c.id == run_id)
    if not (await s.execute(mine.values(locked_by=worker))).rowcount:
        return None
    read = select(run_event.c.ordinal).where(
        run_event.c.job_id == run_id, run_event.c.ordinal == READ
    )
    if (await s.execute(read)).first() is not None:
        return await frames(s, run_id)
    await s.execute(delete(run_event).where(run_event.c.job_id == run_id))
    await s.execute(mine.values(finished=0))
    return []


@dataclass(frozen=True, slots=True)
class Told:
    """Frames of a run behind the first `after`, and its end when it is among them."""

    run_id: str
    after: int
    frames: Sequence[str]
    end: End | None = None


async def add(s: Session, worker: str, told: Told, *, now: float) -> bool:
    """Keep what a run tells; False when the lease is lost and nothing was kept.

    The same again does nothing more: a commit may have been kept although its connection broke.
    The number of tries stays as it was, or a run that kills its workers would do it for ever.
    """
    last = told.after + len(told.frames)
    values: dict[str, Any] = {"finished": last, "lease_until": now + LEASE_S, "updated_at": now}
    if told.end is not None:
        values |= _ended(told.end, now)
    mine = update(job).where(_held(worker), job.c.id == told.run_id, job.c.finished == told.after)
    if (await s.execute(mine.values(**values))).rowcount:
        await _put(s, told)
        return True
    found = await jobs.get(s, told.run_id)
    if found is None or found.finished != last:
        return False
    return found.locked_by == worker if told.end is None else found.state == told.end.state


async def cancel(s: Session, run: KeptRun, frame: str, *, now: float) -> bool:
    """End a run that goes on with the frame that says so, and tell every worker.

    Returns:
        False when it has told more than `run` knows, or has ended.
    """
    going = and_(job.c.state.in_(("queued", "running")), job.c.finished == run.events)
    this = update(job).where(job.c.id == run.id, job.c.kind == ANSWER, going)
    values = {"finished": run.events + 1, **_ended(End("cancelled"), now)}
    if not (await s.execute(this.values(**values))).rowcount:
        return False
    await _put(s, Told(run.id, run.events, [frame]))
    await changes.bump(s, TOPIC)
    return True


async def let_go(s: Session, worker: str, run_id: str, *, now: float) -> None:
    """Queue a run again that this worker has to leave, and tell the others."""
    if await jobs.release(s, worker, [run_id], now=now):
        await changes.bump(s, TOPIC)


async def forget_before(s: Session, moment: float) -> int:
    """Delete runs that ended before `moment` with all that they told; return how many."""
    ended = and_(job.c.kind == ANSWER, job.c.state.in_(ENDED), job.c.updated_at < moment)
    return int((await s.execute(delete(job).where(ended))).rowcount)


async def _put(s: Session, told: Told) -> None:
    rows = [
        {"job_id": told.run_id, "ordinal": ordinal, "frame": frame}
        for ordinal, frame in enumerate(told.frames, start=told.after + 1)
    ]
    await s.execute(run_event.insert(), rows)


def _ended(end: End, now: float) -> dict[str, Any]:
    return {
        "state": end.state,
        "error_code": end.error_code,
        "error": end.error,
        "updated_at": now,
        **FREE,
    }


def _held(worker: str) -> ColumnElement[bool]:
    return and_(job.c.kind == ANSWER, job.c.state == "running", job.c.locked_by == worker)


def _run(found: Job) -> KeptRun:
    return KeptRun(
        found.id,
        cast(RunState, found.state),
        found.finished,
        found.payload,
        found.error_code,
        found.error,
        found.created_at,
        found.updated_at,
    )
