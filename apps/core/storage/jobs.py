"""The queue of background work: leased rows, so that work survives the death of its worker.

`attempts` counts the tries since the last progress. A try that fails is repeated later and is
a dead letter after `MAX_FAILURES`; a try whose worker vanished is taken over when its lease has
run out, at most `MAX_LOST` times, so that work which kills its worker does not do it for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, func, or_, select, update

from apps.core.domain.models import JobState
from apps.core.storage.connections import Session
from apps.core.storage.tables import job

# A run of a question: it has an end of its own, see `runs.py`, and is never tried again by hand.
ANSWER = "answer"
MAX_FAILURES = 3
MAX_LOST = 10
LEASE_S = 30.0
FREE: Mapping[str, None] = {"locked_by": None, "lease_until": None}


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of background work."""

    id: str
    kind: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    total: int = 0
    finished: int = 0
    state: JobState = "queued"
    attempts: int = 0
    run_after_at: float = 0.0
    locked_by: str | None = None
    error_code: str | None = None
    error: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0


async def enqueue(s: Session, new: Job, *, now: float, locked_by: str | None = None) -> None:
    """Add a job; with `locked_by` it is leased to that worker at once."""
    await s.execute(
        job.insert().values(
            id=new.id,
            kind=new.kind,
            state="running" if locked_by else "queued",
            payload=dict(new.payload),
            total=new.total,
            finished=new.finished,
            attempts=1 if locked_by else 0,
            run_after_at=new.run_after_at or now,
            locked_by=locked_by,
            lease_until=now + LEASE_S if locked_by else None,
            created_at=now,
            updated_at=now,
        )
    )


async def lease(
    s: Session, worker: str, *, kinds: Collection[str], now: float, limit: int = 1
) -> list[Job]:
    """Take up to `limit` jobs that are due, oldest first; two workers never get the same one."""
    free = or_(
        and_(job.c.state == "queued", job.c.run_after_at <= now),
        and_(job.c.state == "running", job.c.lease_until < now),
    )
    due = (
        select(job.c.id)
        .where(free, job.c.kind.in_(kinds))
        .order_by(job.c.run_after_at, job.c.created_at, job.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(job)
        .where(job.c.id.in_(due))
        .values(
            state="running",
            locked_by=worker,
            lease_until=now + LEASE_S,
            attempts=job.c.attempts + 1,
            updated_at=now,
        )
        .returning(job)
    )
    rows = (await s.execute(taken)).mappings()
    return sorted(map(_job, rows), key=lambda one: (one.run_after_at, one.created_at, one.id))


async def heartbeat(s: Session, worker: str, job_ids: Collection[str], *, now: float) -> set[str]:
    """Prolong the leases that are still this worker's; return those."""
    mine = update(job).where(_held(worker), job.c.id.in_(job_ids))
    result = await s.execute(mine.values(lease_until=now + LEASE_S).returning(job.c.id))
    return set(result.scalars())


async def advance(
    s: Session,
    worker: str,
    job_id: str,
    *,
    step: int,
    now: float,
    more: int = 0,
    payload: Mapping[str, Any] | None = None,
) -> bool:
    """Note progress; False when the lease is lost and the work is another's now.

    Args:
        step: how much was finished.
        more: how much turned out to be there in addition.
    """
    values: dict[str, Any] = {
        "finished": job.c.finished + step,
        "total": job.c.total + more,
        "attempts": 1,
        "updated_at": now,
        "lease_until": now + LEASE_S,
    }
    if payload is not None:
        values["payload"] = dict(payload)
    mine = update(job).where(_held(worker), job.c.id == job_id)
    return bool((await s.execute(mine.values(**values))).rowcount)


async def finish(s: Session, worker: str, job_id: str, *, now: float) -> bool:
    """End a job well; False when the lease is lost."""
    mine = update(job).where(_held(worker), job.c.id == job_id)
    done = {"state": "done", "error_code": None, "error": None, "updated_at": now, **FREE}
    return bool((await s.execute(mine.values(**done))).rowcount)


async def put_back(
    s: Session, worker: str, failed: Job, *, error: tuple[str, str], run_after_at: float, now: float
) -> bool:
    """Queue a failed try again, or bury it after too many; False when the lease is lost.

    Args:
        error: code and sentence of the failure.
        run_after_at: not before this moment.
    """
    dead = failed.attempts >= MAX_FAILURES
    values = {
        "state": "failed" if dead else "queued",
        "run_after_at": run_after_at,
        "error_code": error[0],
        "error": error[1],
        "updated_at": now,
        **FREE,
    }
    mine = update(job).where(_held(worker), job.c.id == failed.id)
    return bool((await s.execute(mine.values(**values))).rowcount)


async def bury_lost(s: Session, *, now: float) -> int:
    """Give up jobs that lost their worker too often; return how many."""
    lost = and_(job.c.state == "running", job.c.lease_until < now, job.c.attempts >= MAX_LOST)
    reason = {"error_code": "system_failure", "error": "Its worker died each time it was tried."}
    buried = update(job).where(lost).values(state="failed", updated_at=now, **FREE, **reason)
    return int((await s.execute(buried)).rowcount)


async def release_of(s: Session, workers: Collection[str], *, now: float) -> int:
    """Let go of the leases of workers that are known to be dead; return how many."""
    theirs = and_(job.c.state == "running", job.c.locked_by.in_(workers))
    freed = update(job).where(theirs).values(lease_until=now - 1)
    return int((await s.execute(freed)).rowcount)


async def release(s: Session, worker: str, job_ids: Collection[str], *, now: float) -> int:
    """Queue jobs again that this worker was asked to leave; that was no try; return how many."""
    mine = update(job).where(_held(worker), job.c.id.in_(job_ids))
    values = {"state": "queued", "run_after_at": now, "updated_at": now, **FREE}
    return int((await s.execute(mine.values(attempts=job.c.attempts - 1, **values))).rowcount)


async def holders(s: Session) -> set[str]:
    """The workers that hold a lease."""
    query = select(job.c.locked_by).where(job.c.state == "running").distinct()
    return {str(name) for name in (await s.execute(query)).scalars() if name}


async def failed(s: Session, *, limit: int = 100) -> list[Job]:
    """Dead letters, the newest first."""
    dead = select(job).where(job.c.state == "failed", job.c.kind != ANSWER)
    newest = dead.order_by(job.c.updated_at.desc(), job.c.id).limit(limit)
    return [_job(row) for row in (await s.execute(newest)).mappings()]


async def retry(s: Session, job_id: str, *, now: float) -> bool:
    """Queue a dead letter again; False when there is none of this id."""
    dead = update(job).where(job.c.id == job_id, job.c.state == "failed", job.c.kind != ANSWER)
    again = {"state": "queued", "attempts": 0, "run_after_at": now, "updated_at": now}
    return bool((await s.execute(dead.values(**again))).rowcount)


async def get(s: Session, job_id: str) -> Job | None:
    """A job."""
    row = (await s.execute(select(job).where(job.c.id == job_id))).mappings().first()
    return _job(row) if row else None


async def listed(
    s: Session, *, state: JobState | None = None, before: float | None = None, limit: int = 100
) -> list[Job]:
    """Jobs, newest first; `before` is the `created_at` of the last one seen."""
    query = select(job)
    if state is not None:
        query = query.where(job.c.state == state)
    if before is not None:
        query = query.where(job.c.created_at < before)
    newest = query.order_by(job.c.created_at.desc(), job.c.id).limit(limit)
    return [_job(row) for row in (await s.execute(newest)).mappings()]


async def pending(s: Session, kinds: Collection[str]) -> float | None:
    """When the next job of these kinds is due, running ones at their lease's end; None if none."""
    moment = func.min(func.coalesce(job.c.lease_until, job.c.run_after_at))
    waiting = select(moment).where(job.c.kind.in_(kinds), job.c.state.in_(("queued", "running")))
    found = (await s.execute(waiting)).scalar_one()
    return None if found is None else float(found)


async def is_queued(s: Session, kind: str) -> bool:
    """Whether a job of this kind waits for a worker."""
    query = select(job.c.id).where(job.c.kind == kind, job.c.state == "queued").limit(1)
    return (await s.execute(query)).first() is not None


async def forget_before(s: Session, moment: float) -> int:
    """Delete jobs that ended before `moment`; return how many."""
    ended = and_(job.c.state.in_(("done", "failed")), job.c.updated_at < moment)
    return int((await s.execute(job.delete().where(ended))).rowcount)


def _held(worker: str) -> ColumnElement[bool]:
    return and_(job.c.state == "running", job.c.locked_by == worker)


def _job(row: RowMapping) -> Job:
    hidden = ("lease_until",)
    return Job(**{key: value for key, value in row.items() if key not in hidden})
