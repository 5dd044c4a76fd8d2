"""Bodies of the administration of API keys."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from apps.api.schemas.base import WHOLE, Name, Reply, Request

Scope = Literal[
    "search",
    "answer",
    "feedback",
    "documents:write",
    "flags:read",
    "flags:write",
    "flags:override",
    "index:write",
    "keys:write",
    "admin",
]
DEFAULT_PER_MINUTE = 1000
MAX_DAYS = 3650


def _network(value: str) -> str:
    return str(ip_network(value, strict=False))


OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
Network = Annotated[
    str,
    StringConstraints(min_length=2, max_length=43, pattern=r"^[0-9A-Fa-f:./]+$"),
    AfterValidator(_network),
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [
                {"pattern": rf"^{OCTET}(\.{OCTET}){{3}}(/(3[0-2]|[12]?[0-9]))?$"},
                {"format": "ipv6", "pattern": "^[0-9A-Fa-f:.]+$"},
            ],
        }
    ),
]
Tenant = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
]


class KeyBody(Request):
    """What a key opens, from where, until when, and how often."""

    name: Name
    scopes: list[Scope] = Field(default=["search", "answer", "feedback"], min_length=1)
    tenant: Tenant = "default"
    allowed_ips: list[Network] = Field(
        default_factory=list, max_length=100, description="Addresses or networks; empty: any."
    )
    expires_days: Annotated[int, Field(ge=1, le=MAX_DAYS), WHOLE] | None = None
    rate_limit: Annotated[int, Field(ge=1, le=10_000_000), WHOLE] | None = Field(
        default=DEFAULT_PER_MINUTE,
        description="Requests a minute, counted in each worker; null: unlimited.",
    )
    quota: Annotated[int, Field(ge=1, le=10_000_000_000), WHOLE] | None = Field(
        default=None, description="Requests a day; null: unlimited."
    )


class RotateBody(Request):
    """How long the old secret stays good beside the new one."""

    overlap_s: Annotated[int, Field(ge=0, le=30 * 86_400), WHOLE] = 0


class KeyReply(Reply):
    """A key; the secret is shown only when it is made."""

    id: str
    name: str
    scopes: list[Scope]
    tenant: str
    allowed_ips: list[str]
    rate_limit: int | None
    quota: int | None
    expires_at: str | None
    revoked_at: str | None
    rotated_from: str | None
    created_at: str
    last_used_at: str | None


class NewKeyReply(KeyReply):
    """The only time that the secret is shown."""

    api_key: str


class KeysReply(Reply):
    """All keys."""

    keys: list[KeyReply]


class UsageReply(Reply):
    """Requests a day (UTC), counted within about a second."""

    id: str
    days: dict[str, int]
    total: int
