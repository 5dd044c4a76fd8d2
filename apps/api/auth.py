"""Who calls: an API key, or in development a program on this very machine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import Scope

from apps.core.domain.models import Caller
from apps.core.errors import NotAuthenticated

KEYLESS_SCOPES = frozenset({"search", "answer", "feedback"})
LOCAL = Caller(key_id=None, scopes=KEYLESS_SCOPES)
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# Any of them means that somebody else stands behind the peer.
FORWARDING = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip"})
BEARER = b"bearer "
Headers = Mapping[bytes, bytes]


def credential(headers: Headers) -> str | None:
    """What the caller shows: `X-API-Key`, else a bearer token."""
    key = headers.get(b"x-api-key")
    if key is not None:
        return key.decode("latin-1")
    value = headers.get(b"authorization")
    if value is None:
        return None
    if not value.lower().startswith(BEARER):
        raise NotAuthenticated("Authorization must be a bearer token.")
    return value[len(BEARER) :].strip().decode("latin-1")


def is_local(scope: Scope, headers: Headers) -> bool:
    """Whether the caller is a program on this machine that speaks for itself.

    The host name is checked because a page in a browser can make any name lead here
    (DNS rebinding), but cannot choose the name that the browser sends.
    """
    client = scope.get("client")
    if client is None or not FORWARDING.isdisjoint(headers):
        return False
    return _is_local_name(headers.get(b"host", b"")) and _is_loopback(client[0])


@lru_cache(maxsize=1024)
def _is_local_name(value: bytes) -> bool:
    host = value.decode("latin-1").rsplit("@")[-1]
    name = host[1 : host.find("]")] if host.startswith("[") else host.split(":")[0]
    return name.lower() in LOCAL_HOSTS


@lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
