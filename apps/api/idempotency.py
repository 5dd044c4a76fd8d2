"""Idempotency-Key: the same key and body have one result for 24 hours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from starlette.requests import Request
from starlette.responses import Response

from apps.api.admission import caller_of
from apps.api.render import JSON_TYPE
from apps.api.services import services_of
from apps.api.store_ports import Once, Remembered, Ticket
from apps.core.errors import StorageDown, UserFailure

MAX_KEY_CHARS = 255
KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARS}}}")
LOCAL_CALLER = "local"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that is ours until it is kept or dropped, unless there is an earlier result."""

    once: Once
    ticket: Ticket
    earlier: Remembered | None

    async def keep(self, status: int, body: bytes) -> None:
        """Remember the result; an outage must not take it from who waits for it."""
        try:
            await self.once.finish(self.ticket, status=status, body=body)
        except StorageDown as error:
            log.warning("idempotency.not_kept", error=error.detail)

    async def drop(self) -> None:
        """Forget the claim, so that a request that failed may be tried again."""
        try:
            await self.once.abandon(self.ticket)
        except StorageDown as error:
            log.warning("idempotency.not_dropped", error=error.detail)


async def claim(request: Request, route: str, *, raw: bytes, needed: bool = True) -> Claim | None:
    """Claim the request's key; None when it has none.

    Args:
        needed: else None is also given while the database is away: for work that is better done
            twice than not at all.

    Raises:
        StorageDown: the database is away and the claim is needed.
        BusinessFailure: the key was used with another body, or its request still runs.
        UserFailure: the key is empty, too long, or not printable ASCII.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not KEY.fullmatch(key):
        raise UserFailure(f"Idempotency-Key must be 1 to {MAX_KEY_CHARS} printable characters.")
    services = services_of(request)
    once = (await services.stores.get()).once
    caller = caller_of(request).key_id or LOCAL_CALLER
    # Callers make keys of whatever they have, an address for instance; it need not be known here.
    ticket = Ticket(caller, route, _digest(key.encode()), services.clock.now())
    try:
        earlier = await once.begin(ticket, body_sha256=_digest(raw))
    except StorageDown as error:
        if needed:
            raise
        log.warning("idempotency.not_claimed", error=error.detail)
        return None
    return Claim(once, ticket, earlier)


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


async def once_only(
    request: Request, route: str, raw: bytes, produce: Callable[[], Awaitable[Response]]
) -> Response:
    """Produce the response, or give the one that the same request got before."""
    claimed = await claim(request, route, raw=raw)
    if claimed is None:
        return await produce()
    if claimed.earlier is not None:
        return remembered(claimed.earlier)
    try:
        response = await produce()
    except BaseException:
        await claimed.drop()
        raise
    await claimed.keep(response.status_code, bytes(response.body))
    return response


def remembered(earlier: Remembered) -> Response:
    """An earlier result, marked as such."""
    return Response(
        earlier.body,
        status_code=earlier.status,
        media_type=JSON_TYPE,
        headers={"Idempotent-Replayed": "true"},
    )
