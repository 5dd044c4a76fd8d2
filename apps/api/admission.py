"""What stands before every guarded route: who, may they, how often, and by the newest flags."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from apps.api.auth import KEYLESS_SCOPES, LOCAL, credential, is_local
from apps.api.exchange import Exchange, exchange_of
from apps.api.services import Services, services_of
from apps.api.store_ports import Known
from apps.core.domain.models import Caller
from apps.core.errors import LimitReached, NotAllowed, NotAuthenticated

# Any key at all, or nobody when METRICS_PUBLIC says so.
METRICS = "metrics"
WHO = "An API key is needed: X-API-Key or Authorization: Bearer."


class Admission:
    """A dependency that lets in callers with `scope`, within their quotas."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    async def __call__(self, request: HTTPConnection) -> None:
        """Put the caller into the request's record.

        Raises:
            NotAuthenticated: no key, or one that is not valid.
            NotAllowed: a valid key without the scope.
            LimitReached: the key's quota is used up.
        """
        exchange, services = exchange_of(request.scope), services_of(request)
        if self.scope == METRICS and services.settings.METRICS_PUBLIC:
            return
        await services.flags.fresh()
        presented = credential(exchange.asked)
        if presented is None:
            exchange.caller = self._keyless(request, services)
            return
        client = request.scope.get("client")
        keys = (await services.stores.get()).keys
        known = await keys.authenticate(presented, ip=client[0] if client else None)
        if known is None:
            raise NotAuthenticated("The API key is not valid here.")
        exchange.caller = known.caller
        _count(exchange, services, known)
        if self.scope != METRICS and not known.caller.may(self.scope):
            raise NotAllowed(f"The API key lacks the scope {self.scope!r}.")

    def _keyless(self, request: HTTPConnection, services: Services) -> Caller:
        if (
            self.scope in KEYLESS_SCOPES
            and services.settings.ENVIRONMENT == "development"
            and is_local(request.scope, exchange_of(request.scope).asked)
        ):
            return LOCAL
        raise NotAuthenticated(WHO)


def _count(exchange: Exchange, services: Services, known: Known) -> None:
    key_id = known.caller.key_id or ""
    left = services.limiter.take(key_id, per_minute=known.per_minute, per_day=known.per_day)
    services.usage.add(key_id)
    if left is None:
        return
    exchange.header(b"ratelimit-limit", str(left.limit))
    exchange.header(b"ratelimit-remaining", str(max(0, left.remaining)))
    exchange.header(b"ratelimit-reset", str(left.reset_s))
    if left.refused:
        raise LimitReached(
            f"The limit of {left.limit} requests is used up.", retry_after_s=left.reset_s
        )


def caller_of(request: HTTPConnection) -> Caller:
    """Who calls; only a guarded route may ask."""
    caller = exchange_of(request.scope).caller
    if caller is None:
        raise NotAuthenticated(WHO)
    return caller
