"""Which bucket a unit falls into; pinned, because a moved bucket moves people between arms.

murmur3 x86 32 bits, initial value 0, unsigned, over UTF-8 bytes. `hash_version` says what is
hashed: `v2` concatenates, as flagd did up to its core version 1; `v3` takes canonical CBOR, so
that `ab` + `c` and `a` + `bc` differ. The golden file of the tests holds both.

Source: Appleby 2011, MurmurHash3 (public domain), and flagd's `fractional` (core 1.0 and 2.0).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Literal

from apps.core.flags import cbor

HashVersion = Literal["v2", "v3"]
Hash = Callable[[bytes], int]

HASH_VERSIONS: tuple[HashVersion, ...] = ("v2", "v3")
BUCKETS = 100_000
"""Of a rollout: 0.001 % of the units each."""
UNIT_HASH_BYTES = 16
TRIPLE = 3
MASK = 0xFFFFFFFF
C1, C2, C3 = 0xCC9E2D51, 0x1B873593, 0xE6546B64
F1, F2 = 0x85EBCA6B, 0xC2B2AE35


def portable_murmur3(data: bytes) -> int:
    """The hash in plain Python, 0 to 2^32 - 1."""
    h, whole = 0, len(data) & ~3
    for at in range(0, whole, 4):
        h ^= _mixed(int.from_bytes(data[at : at + 4], "little"))
        h = (_rotated(h, 13) * 5 + C3) & MASK
    h ^= _mixed(int.from_bytes(data[whole:], "little")) ^ len(data)
    h = (h ^ h >> 16) * F1 & MASK
    h = (h ^ h >> 13) * F2 & MASK
    return h ^ h >> 16


def _mixed(k: int) -> int:
    return _rotated(k * C1 & MASK, 15) * C2 & MASK


def _rotated(x: int, bits: int) -> int:
    return (x << bits | x >> 32 - bits) & MASK


def _fastest() -> Hash:
    try:
        from mmh3 import mmh3_32_uintdigest  # noqa: PLC0415 - not there on every platform
    except ImportError:
        return portable_murmur3
    return mmh3_32_uintdigest


murmur3: Hash = _fastest()


def scaled(hashed: int, total: int) -> int:
    """Stretch a hash over `total` places: 0 to total - 1, in integers only."""
    return hashed * total >> 32


def fractional_hash(version: HashVersion, flag_key: str, targeting_key: str) -> int:
    """The hash of the operator `fractional` without a first expression."""
    if version == "v2":
        return murmur3((flag_key + targeting_key).encode())
    return murmur3(cbor.encode([flag_key, targeting_key]))


def value_hash(version: HashVersion, value: object) -> int | None:
    """The hash of the operator `fractional` with a first expression; None for no usable value.

    `v2` hashes texts that are not empty, `v3` everything but nothing and lists.
    """
    if version == "v2":
        return murmur3(value.encode()) if isinstance(value, str) and value else None
    return None if value is None or isinstance(value, list) else murmur3(cbor.encode(value))


def rollout_bucket(version: HashVersion, flag_key: str, salt: str) -> Callable[[str], int]:
    """A function from a unit to its bucket, 0 to 99,999.

    Another salt deals the cards anew; the same one brings the same cohort back.
    """
    prefix = f"{flag_key}:{salt}:".encode()
    encoded: Callable[[str], bytes] = str.encode
    if version == "v3":
        prefix = cbor.head(cbor.ARRAY, TRIPLE) + cbor.text(flag_key) + cbor.text(salt)
        encoded = cbor.text
    hashed = murmur3

    def bucket(unit: str) -> int:
        return hashed(prefix + encoded(unit)) * BUCKETS >> 32

    return bucket


def unit_hash(unit: str, pepper: bytes) -> bytes:
    """What may be stored of a unit: 16 bytes that only the holder of the pepper can recompute.

    Source: RFC 2104, HMAC, with SHA-256.
    """
    return hmac.digest(pepper, unit.encode("utf-8", "surrogatepass"), "sha256")[:UNIT_HASH_BYTES]
