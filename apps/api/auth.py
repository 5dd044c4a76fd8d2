"""Who calls: an API key, or in development a program on this very machine."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address, ip_network
from typing import Protocol

from starlette.datastructures import Headers
from starlette.types import Scope

from apps.core.domain.models import Caller
from apps.core.errors import NotAllowed, NotAuthenticated

KEYLESS_SCOPES = frozenset({"search", "answer", "feedback"})
LOCAL = Caller(key_id=None, scopes=KEYLESS_SCOPES)
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# Any of them means that somebody else stands behind the peer.
FORWARDING = ("x-forwarded-for", "forwarded", "x-real-ip")
BEARER = "bearer "


class Key(Protocol):
    """A stored key, as far as a request is concerned."""

    @property
    def id(self) -> str:
        """Its public half."""

    @property
    def scopes(self) -> Collection[str]:
        """What it opens."""

    @property
    def tenant(self) -> str:
        """Whose it is."""

    @property
    def allowed_ips(self) -> Collection[str]:
        """Networks that it may come from; empty means any."""

    @property
    def expires_at(self) -> float | None:
        """Its end, in seconds since 1970."""

    @property
    def rate_limit_per_minute(self) -> int | None:
        """Requests a minute; None means unlimited."""

    @property
    def quota_per_day(self) -> int | None:
        """Requests a day; None means unlimited."""


class KeyRing(Protocol):
    """All valid keys, as they are at this moment in every worker."""

    async def find(self, presented: str) -> Key | None:
        """The key behind a presented secret; None for unknown, wrong and revoked ones."""


def credential(headers: Headers) -> str | None:
    """What the caller shows: `X-API-Key`, else a bearer token."""
    key = headers.get("x-api-key")
    if key is not None:
        return key
    value = headers.get("authorization")
    if value is None:
        return None
    if not value.lower().startswith(BEARER):
        raise NotAuthenticated("Authorization must be a bearer token.")
    return value[len(BEARER) :].strip()


def is_local(scope: Scope, headers: Headers) -> bool:
    """Whether the caller is a program on this machine that speaks for itself.

    The host name is checked because a page in a browser can make any name lead here
    (DNS rebinding), but cannot choose the name that the browser sends.
    """
    client = scope.get("client")
    if client is None or any(name in headers for name in FORWARDING):
        return False
    host = headers.get("host", "").rsplit("@")[-1]
    name = host[1 : host.find("]")] if host.startswith("[") else host.split(":")[0]
    return name.lower() in LOCAL_HOSTS and _is_loopback(client[0])


def check_key(key: Key, *, now: float, client: str | None) -> Caller:
    """The caller behind a key.

    Raises:
        NotAuthenticated: the key has expired.
        NotAllowed: the key may not come from there.
    """
    if key.expires_at is not None and key.expires_at <= now:
        raise NotAuthenticated("The API key is not valid.")
    if key.allowed_ips and not _within(client, key.allowed_ips):
        raise NotAllowed("The API key may not be used from this address.")
    return Caller(key_id=key.id, scopes=frozenset(key.scopes), tenant=key.tenant)


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _within(host: str | None, networks: Collection[str]) -> bool:
    try:
        address = ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in ip_network(each, strict=False) for each in networks)
