"""API keys in SQL: made once, stored as a keyed hash, watched by every process.

A key is `dtr_<8 characters id>_<32 random bytes in base64url>`. Only HMAC-SHA-256 of it under
the service's secret is stored: 256 random bits need no slow hash, and without the secret the
table is useless. Every change bumps the topic `keys`, so that every worker reloads before its
next request (`keyring.py`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from sqlalchemy import RowMapping, func, select

from apps.core.domain.models import SCOPES
from apps.core.errors import BusinessFailure, NotFound, Unprocessable
from apps.core.storage import changes
from apps.core.storage.connections import Session, insert
from apps.core.storage.tables import api_key, api_key_usage, change

TOPIC = "keys"
PREFIX = "dtr_"
ID_CHARACTERS = 8
SECRET_BYTES = 32
# No 0 1 l o, which people confuse when they read an id aloud; 32 of them are 5 bits each.
ID_ALPHABET = "23456789abcdefghijkmnpqrstuvwxyz"
FIRST_KEY = "first_key"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as operators see it; never the secret, never its hash."""

    id: str
    name: str
    scopes: tuple[str, ...]
    tenant: str
    allowed_ips: tuple[str, ...]
    rate_limit_per_minute: int | None
    quota_per_day: int | None
    expires_at: float | None
    revoked_at: float | None
    rotated_from: str | None
    created_at: float
    last_used_at: float | None

    def active(self, now: float) -> bool:
        """Whether it opens anything at `now`."""
        expired = self.expires_at is not None and self.expires_at <= now
        return self.revoked_at is None and not expired


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a new key should be; `allowed_ips` are addresses or networks, empty means any."""

    name: str
    scopes: tuple[str, ...]
    tenant: str = "default"
    allowed_ips: tuple[str, ...] = ()
    rate_limit_per_minute: int | None = None
    quota_per_day: int | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `secret` is shown this once and cannot be had again."""

    key: ApiKey
    secret: str


def digest(secret: str, pepper: bytes) -> str:
    """What is stored of a secret."""
    return hmac.digest(pepper, secret.encode("utf-8", "replace"), hashlib.sha256).hex()


async def create(
    s: Session, wish: KeyWish, *, pepper: bytes, now: float, rotated_from: str | None = None
) -> NewKey:
    """Make a key and return its secret.

    Raises:
        Unprocessable: an unknown scope, no scope, or an address that is none.
    """
    _check(wish)
    key_id = "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_CHARACTERS))
    random = base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")
    secret = f"{PREFIX}{key_id}_{random}"
    row = {
        "id": key_id,
        "hash": digest(secret, pepper),
        **_columns(wish),
        "rotated_from": rotated_from,
        "created_at": now,
    }
    await s.execute(api_key.insert().values(row))
    await changes.bump(s, TOPIC)
    return NewKey(_key({**row, "revoked_at": None, "last_used_at": None}), secret)


async def create_first(s: Session, *, pepper: bytes, now: float) -> NewKey | None:
    """Make the first administrator's key; None when it was made before or keys exist.

    Racing processes get one key between them: the row in `change` decides inside the database.
    """
    claimed = await s.execute(
        insert(s, change).values(topic=FIRST_KEY, version=1).on_conflict_do_nothing()
    )
    if claimed.rowcount != 1:
        return None
    if (await s.execute(select(api_key.c.id).limit(1))).first() is not None:
        return None
    return await create(s, KeyWish("first administrator", ("admin",)), pepper=pepper, now=now)


async def get(s: Session, key_id: str) -> ApiKey:
    """The key with this id.

    Raises:
        NotFound: there is none.
    """
    row = (await s.execute(select(api_key).where(api_key.c.id == key_id))).mappings().first()
    if row is None:
        raise NotFound(f"There is no key {key_id!r}.")
    return _key(row)


async def every(s: Session) -> list[ApiKey]:
    """All keys, the newest first."""
    rows = await s.execute(select(api_key).order_by(api_key.c.created_at.desc(), api_key.c.id))
    return [_key(row) for row in rows.mappings()]


async def hashes(s: Session) -> dict[str, str]:
    """What is stored of each secret, by key id."""
    rows = await s.execute(select(api_key.c.id, api_key.c.hash))
    return {row.id: row.hash for row in rows}


async def alter(s: Session, key_id: str, wish: KeyWish) -> ApiKey:
    """Give a key a new name, scopes, limits or life.

    Raises:
        NotFound: there is no such key.
        Unprocessable: as in `create`.
    """
    _check(wish)
    await _update(s, key_id, _columns(wish))
    return await get(s, key_id)


async def revoke(s: Session, key_id: str, *, now: float) -> None:
    """Close a key for good; a second time changes nothing.

    Raises:
        NotFound: there is no such key.
    """
    await _update(s, key_id, {"revoked_at": func.coalesce(api_key.c.revoked_at, now)})


async def rotate(
    s: Session, key_id: str, *, pepper: bytes, now: float, overlap_s: float = 0.0
) -> NewKey:
    """Make a key with the same rights; the old one still opens for `overlap_s`.

    Raises:
        NotFound: there is no such key.
        BusinessFailure: the key is revoked or expired.
    """
    old = await get(s, key_id)
    if not old.active(now):
        raise BusinessFailure(f"Key {key_id!r} is no longer active.")
    ends_at = now + overlap_s
    if old.expires_at is not None:
        ends_at = min(ends_at, old.expires_at)
    await _update(s, key_id, {"expires_at": ends_at})
    return await create(s, _wish_of(old), pepper=pepper, now=now, rotated_from=key_id)


async def count_use(s: Session, uses: Mapping[str, int], *, day: str, now: float) -> None:
    """Add the requests of each key to its day (YYYY-MM-DD); keys that are gone are left out."""
    known = await s.execute(select(api_key.c.id).where(api_key.c.id.in_(uses)))
    # In one order everywhere, so that two workers never wait for each other.
    for key_id in sorted(known.scalars()):
        row = {"key_id": key_id, "day": day, "requests": uses[key_id]}
        counted = insert(s, api_key_usage).values(row)
        total = api_key_usage.c.requests + counted.excluded.requests
        await s.execute(
            counted.on_conflict_do_update(
                index_elements=["key_id", "day"], set_={"requests": total}
            )
        )
        used = api_key.update().where(api_key.c.id == key_id).values(last_used_at=now)
        await s.execute(used)


async def usage(s: Session, key_id: str) -> list[tuple[str, int]]:
    """Requests per day, the newest first."""
    rows = await s.execute(
        select(api_key_usage.c.day, api_key_usage.c.requests)
        .where(api_key_usage.c.key_id == key_id)
        .order_by(api_key_usage.c.day.desc())
    )
    return [(row.day, row.requests) for row in rows]


async def used_on(s: Session, day: str) -> dict[str, int]:
    """Requests of every key on one day."""
    rows = await s.execute(
        select(api_key_usage.c.key_id, api_key_usage.c.requests).where(api_key_usage.c.day == day)
    )
    return {row.key_id: row.requests for row in rows}


async def _update(s: Session, key_id: str, values: Mapping[str, object]) -> None:
    result = await s.execute(api_key.update().where(api_key.c.id == key_id).values(**values))
    if result.rowcount != 1:
        raise NotFound(f"There is no key {key_id!r}.")
    await changes.bump(s, TOPIC)


def _columns(wish: KeyWish) -> dict[str, object]:
    values = {name: getattr(wish, name) for name in KeyWish.__slots__}
    for name in ("scopes", "allowed_ips"):
        values[name] = list(values[name])
    return values


def _wish_of(key: ApiKey) -> KeyWish:
    return KeyWish(**{name: getattr(key, name) for name in KeyWish.__slots__})


def _check(wish: KeyWish) -> None:
    unknown = sorted(set(wish.scopes) - set(SCOPES))
    if unknown:
        raise Unprocessable(f"There is no scope {unknown[0]!r}; known are {', '.join(SCOPES)}.")
    if not wish.scopes:
        raise Unprocessable("A key needs at least one scope.")
    for network in wish.allowed_ips:
        try:
            ip_network(network, strict=False)
        except ValueError:
            raise Unprocessable(f"{network!r} is not an address or a network.") from None


def _key(row: Mapping[str, Any] | RowMapping) -> ApiKey:
    values = {name: row[name] for name in ApiKey.__slots__}
    for name in ("scopes", "allowed_ips"):
        values[name] = tuple(values[name])  # JSON has no tuples
    return ApiKey(**values)
