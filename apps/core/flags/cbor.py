"""Canonical CBOR of JSON values, as the bucketing of `hash_version` v3 hashes it.

Whole floats that fit 64 bits become integers first, so that 3 and 3.0 share a bucket; other
floats take the shortest form that keeps them; the keys of a map are sorted by the length of
their encoding, then bytewise.

Source: RFC 8949, sections 3 and 4.2.3 ("length-first map key ordering").
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from apps.core.errors import Unprocessable

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG = range(7)
FALSE, TRUE, NULL, NAN = b"\xf4", b"\xf5", b"\xf6", b"\xf9\x7e\x00"
HALF, SINGLE, DOUBLE = (0xF9, ">e"), (0xFA, ">f"), (0xFB, ">d")
POSITIVE_BIGNUM, NEGATIVE_BIGNUM = 2, 3
LEAST, MOST = -(2**63), 2**64 - 1


def encode(value: object) -> bytes:
    """The canonical bytes of a JSON value.

    Raises:
        Unprocessable: the value is not JSON.
        UnicodeEncodeError: a text holds half a surrogate pair.
    """
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return {None: NULL, True: TRUE, False: FALSE}[value]
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple):
        return head(ARRAY, len(value)) + b"".join(encode(item) for item in value)
    if isinstance(value, Mapping):
        return _map(value)
    raise Unprocessable(f"A {type(value).__name__} is not a JSON value.")


def text(value: str) -> bytes:
    """A text string."""
    raw = value.encode()
    return head(TEXT, len(raw)) + raw


def head(kind: int, number: int) -> bytes:
    """The first bytes of an item: its kind and its length or value in as few bytes as possible."""
    if number < 24:
        return bytes([kind << 5 | number])
    for mark, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([kind << 5 | mark]) + number.to_bytes(size, "big")
    raise OverflowError("a length of more than 64 bits")


def _integer(value: int) -> bytes:
    kind, number, tag = UNSIGNED, value, POSITIVE_BIGNUM
    if value < 0:
        kind, number, tag = NEGATIVE, -1 - value, NEGATIVE_BIGNUM
    if number <= MOST:
        return head(kind, number)
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return head(TAG, tag) + head(BYTES, len(raw)) + raw


def _float(value: float) -> bytes:
    if math.isnan(value):
        return NAN
    if value.is_integer() and LEAST <= value <= MOST:
        return _integer(int(value))
    for mark, form in (HALF, SINGLE):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == value:
            return bytes([mark]) + packed
    mark, form = DOUBLE
    return bytes([mark]) + struct.pack(form, value)


def _map(value: Mapping[object, object]) -> bytes:
    # The head of a text grows with its length, so bytewise order is the standard's.
    pairs = sorted((encode(key), encode(item)) for key, item in value.items())
    return head(MAP, len(pairs)) + b"".join(key + item for key, item in pairs)
