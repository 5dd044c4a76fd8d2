"""`Idempotency-Key`: the same request twice does its work once.

A request first claims its key. The claim and the stored response are one row, so the database
decides between two at the same moment. A claim whose process died is free again after a while.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_, select

from apps.core.errors import BusinessFailure
from apps.core.storage.connections import Session, insert
from apps.core.storage.tables import idempotency_key as table

KEPT_S = 24 * 3600.0
CLAIM_S = 60.0


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do a request's work; `at` tells this claim from a later one."""

    caller: str
    route: str
    key: str
    at: float


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What the first request was answered."""

    status: int
    body: bytes


async def claim(
    s: Session, wanted: Claim, *, body_sha256: str, claim_s: float = CLAIM_S
) -> StoredResponse | None:
    """Take the right to do the work, or get the response of whoever did it.

    Args:
        wanted: who asks for what, and now (`at`).
        body_sha256: fingerprint of the request's body.
        claim_s: how long an unfinished claim holds; longer than the request may take.

    Returns:
        None when the work is the caller's to do, then `complete` or `release` the claim.

    Raises:
        BusinessFailure: the key was used with another body, or its request is still running.
    """
    row = {"body_sha256": body_sha256, "created_at": wanted.at, "status": None, "response": None}
    over = or_(
        table.c.created_at <= wanted.at - KEPT_S,
        and_(table.c.status.is_(None), table.c.created_at <= wanted.at - claim_s),
    )
    named = {"caller": wanted.caller, "route": wanted.route, "key": wanted.key}
    taken = await s.execute(
        insert(s, table)
        .values({**named, **row})
        .on_conflict_do_update(index_elements=list(named), set_=row, where=over)
        .returning(table.c.key)
    )
    if taken.first() is not None:
        return None
    return await _response(s, wanted, body_sha256)


async def complete(s: Session, mine: Claim, response: StoredResponse) -> bool:
    """Keep the response for a day; False when the claim had run out and is another's now."""
    done = table.update().where(_still(mine))
    result = await s.execute(done.values(status=response.status, response=response.body))
    return bool(result.rowcount)


async def release(s: Session, mine: Claim) -> None:
    """Give the claim back after a failure, so that the caller may try again at once."""
    await s.execute(table.delete().where(_still(mine)))


async def forget_before(s: Session, moment: float) -> int:
    """Delete what is older than `moment` (now minus a day); return how many."""
    result = await s.execute(table.delete().where(table.c.created_at < moment))
    return int(result.rowcount)


async def _response(s: Session, wanted: Claim, body_sha256: str) -> StoredResponse:
    found = (await s.execute(select(table).where(_named(wanted)))).one_or_none()
    if found is None:
        # It was released between the two statements (PostgreSQL only).
        raise BusinessFailure("A request with this Idempotency-Key has just ended; try again.")
    if found.body_sha256 != body_sha256:
        raise BusinessFailure("This Idempotency-Key was used with another body.")
    if found.status is None:
        raise BusinessFailure("A request with this Idempotency-Key is still running.")
    return StoredResponse(found.status, bytes(found.response))


def _named(wanted: Claim) -> ColumnElement[bool]:
    return and_(
        table.c.caller == wanted.caller,
        table.c.route == wanted.route,
        table.c.key == wanted.key,
    )


def _still(mine: Claim) -> ColumnElement[bool]:
    return and_(_named(mine), table.c.status.is_(None), table.c.created_at == mine.at)
