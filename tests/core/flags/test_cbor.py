"""Canonical CBOR as the standard prints it."""

from __future__ import annotations

import math

import pytest

from apps.core.errors import Unprocessable
from apps.core.flags.cbor import encode

# RFC 8949, appendix A; whole floats are written as integers before they are encoded.
STANDARD = [
    (0, "00"), (10, "0a"), (23, "17"), (24, "1818"), (100, "1864"), (1000, "1903e8"),
    (1000000, "1a000f4240"), (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"), (18446744073709551616, "c249010000000000000000"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-18446744073709551617, "c349010000000000000000"),
    (-1, "20"), (-10, "29"), (-100, "3863"), (-1000, "3903e7"),
    (1.1, "fb3ff199999999999a"), (1.5, "f93e00"), (5.960464477539063e-8, "f90001"),
    (0.00006103515625, "f90400"), (3.4028234663852886e38, "fa7f7fffff"),
    (1.0e300, "fb7e37e43c8800759c"), (-4.1, "fbc010666666666666"),
    (math.inf, "f97c00"), (math.nan, "f97e00"), (-math.inf, "f9fc00"),
    (False, "f4"), (True, "f5"), (None, "f6"),
    ("", "60"), ("a", "6161"), ("IETF", "6449455446"), ("ü", "62c3bc"), ("水", "63e6b0b4"),
    ([], "80"), ([1, 2, 3], "83010203"), ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"), ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), STANDARD)
def test_examples_of_the_standard(value: object, expected: str) -> None:
    """Shortest forms everywhere."""
    assert encode(value).hex() == expected


def test_keys_are_sorted_by_length_first() -> None:
    """The older of the two canonical orders, because flagd uses it."""
    assert encode({"aa": 1, "b": 2}) == encode({"b": 2, "aa": 1})
    assert encode({"aa": 1, "b": 2}).hex() == "a261620262616101"


def test_whole_floats_are_integers() -> None:
    """3 and 3.0 share a bucket; what does not fit 64 bits stays a float."""
    assert encode([3.0, -0.0, 2.0**63]) == encode([3, 0, 2**63])
    assert encode(2.0**64).hex() == "fa5f800000"


def test_only_json_is_encoded() -> None:
    """A set is none of ours."""
    with pytest.raises(Unprocessable, match="set"):
        encode({1})
