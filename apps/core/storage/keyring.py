"""All keys in memory: a request is authenticated without SQL, and never by a revoked key."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol

import structlog

from apps.core.domain.models import Caller
from apps.core.errors import StorageDown
from apps.core.storage import keys
from apps.core.storage.changes import Watch
from apps.core.storage.connections import Session
from apps.core.storage.keys import ApiKey

Network = IPv4Network | IPv6Network
# Compared when an id is unknown, so that it takes as long as a wrong secret.
NO_HASH = "0" * 64
READ_S = 2.0
FOLLOW_S = 0.2
ID_PLACE = slice(len(keys.PREFIX), len(keys.PREFIX) + keys.ID_CHARACTERS)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with what is compared and computed once."""

    key: ApiKey
    hash: str
    networks: tuple[Network, ...]
    caller: Caller


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """Every key as it was at one moment."""

    pepper: bytes
    entries: Mapping[str, Entry]

    def authenticate(self, secret: str, ip: str | None, now: float) -> Caller | None:
        """Who holds `secret`, or None; the reason stays here so that nobody can probe it.

        Args:
            secret: the whole key as it was sent.
            ip: the caller's address; a key with `allowed_ips` refuses an unknown one.
            now: seconds since 1970.
        """
        entry = self.entries.get(secret[ID_PLACE])
        stored = entry.hash if entry else NO_HASH
        same = hmac.compare_digest(keys.digest(secret, self.pepper), stored)
        if entry is None or not same or not entry.key.active(now):
            return None
        if entry.networks and not _inside(ip, entry.networks):
            return None
        return entry.caller

    def key(self, key_id: str) -> ApiKey | None:
        """The limits and life of a key."""
        entry = self.entries.get(key_id)
        return entry.key if entry else None


class Reading(Protocol):
    """Opens a unit of work that reads; `Storage.reading` does."""

    def __call__(self, *, within_s: float) -> AbstractAsyncContextManager[Session]:
        """As there."""


class KeyRing:
    """Keeps the newest snapshot; `open` it once a process."""

    def __init__(
        self,
        reading: Reading,
        watch: Watch,
        pepper: bytes,
    ) -> None:
        self._reading = reading
        self._watch = watch
        self._snapshot = KeySnapshot(pepper, {})
        self._loaded_at_version: int | None = None
        self._reloading = asyncio.Lock()

    @property
    def known(self) -> KeySnapshot:
        """The keys as they were last read."""
        return self._snapshot

    async def current(self) -> KeySnapshot:
        """The keys as of now; reads SQL only when a key has changed.

        Raises:
            StorageDown: a key has changed and the keys cannot be read; a key that may have been
                revoked must not open anything.
        """
        if self._watch.version(keys.TOPIC) != self._loaded_at_version:
            async with self._reloading:
                await self._reload()
        return self._snapshot

    async def follow(self) -> None:
        """Read changed keys before anybody asks, so that an outage finds them read.

        Endless, until cancelled.
        """
        while True:
            try:
                await self.current()
            except StorageDown as error:
                log.warning("keys.not_read", error=error.detail)
            await asyncio.sleep(FOLLOW_S)

    async def refresh(self) -> KeySnapshot:
        """The keys with every change that was committed before this call; use after a write."""
        await self._watch.refresh()
        return await self.current()

    async def _reload(self) -> None:
        # Read before the keys: a change in between only means one more reload.
        version = self._watch.version(keys.TOPIC)
        if version != self._loaded_at_version:
            async with self._reading(within_s=READ_S) as s:
                self._snapshot = await load(s, self._snapshot.pepper)
            self._loaded_at_version = version


async def load(s: Session, pepper: bytes) -> KeySnapshot:
    """Read every key."""
    hashes = await keys.hashes(s)
    entries = {key.id: _entry(key, hashes[key.id]) for key in await keys.every(s)}
    return KeySnapshot(pepper, entries)


def _entry(key: ApiKey, stored: str) -> Entry:
    networks = tuple(ip_network(text, strict=False) for text in key.allowed_ips)
    caller = Caller(key.id, frozenset(key.scopes), key.tenant)
    return Entry(key, stored, networks, caller)


def _inside(ip: str | None, networks: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(ip or "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
