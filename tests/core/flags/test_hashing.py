"""Buckets: pinned, even, independent, and the same with and without the C library."""

from __future__ import annotations

import hashlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.flags import hashing
from apps.core.flags.hashing import (
    BUCKETS,
    HASH_VERSIONS,
    HashVersion,
    fractional_hash,
    murmur3,
    portable_murmur3,
    rollout_bucket,
    scaled,
    unit_hash,
    value_hash,
)
from tests.core.flags import golden

GOLDEN_FILE = "508b7f53f67e4e18735fa4dd33b4871ea91e69c03ced25e414ce51609a688da3"
UNITS = [f"unit-{n}" for n in range(10_000)]


@pytest.mark.parametrize("hashed", [murmur3, portable_murmur3])
def test_murmur3_has_its_published_values(hashed: hashing.Hash) -> None:
    """Initial value 0, unsigned, UTF-8."""
    found = [hashed(text.encode()) for text in ("", "hello", "딥러닝")]
    assert found == [0, 613153351, 3893560385]


@given(st.binary(max_size=200))
def test_both_implementations_agree(data: bytes) -> None:
    """A machine without the C library keeps everybody's arm."""
    assert portable_murmur3(data) == murmur3(data)


@pytest.mark.parametrize(
    ("flag", "unit", "expected"),
    [
        ("debate_mode", "user-1", (4284335465, 99, 1778828529, 41, 50395, 94792)),
        ("debate_mode", "user-2", (3899854481, 90, 997571007, 23, 61082, 53882)),
        ("soft_q_bandit", "user-1", (403146072, 9, 2476599803, 57, 48204, 17916)),
        ("meta_planner", "사용자-1", (3527288511, 82, 4268672121, 99, 64338, 54914)),
    ],
)
def test_the_specified_vectors(flag: str, unit: str, expected: tuple[int, ...]) -> None:
    """The excerpt that the design prints."""
    v2, v3 = (fractional_hash(version, flag, unit) for version in HASH_VERSIONS)
    buckets = [rollout_bucket(version, flag, "s1")(unit) for version in HASH_VERSIONS]
    assert (v2, scaled(v2, 100), v3, scaled(v3, 100), *buckets) == expected


def test_no_release_moves_a_cohort() -> None:
    """All 140,000 vectors are what they were, and so is the file that says so."""
    written = golden.FILE.read_bytes()
    assert hashlib.sha256(written).hexdigest() == GOLDEN_FILE
    assert golden.json.loads(written) == golden.document()


def test_no_release_moves_a_cohort_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain Python hash gives the readable vectors too."""
    monkeypatch.setattr(hashing, "murmur3", portable_murmur3)
    few = list(golden.lines(flags=golden.KEYS, units=golden.UNITS[: golden.READABLE]))
    assert few == golden.json.loads(golden.FILE.read_bytes())["first"]


@pytest.mark.parametrize("version", HASH_VERSIONS)
@pytest.mark.parametrize("percent", [1, 5, 25, 50, 95])
def test_the_share_is_the_percentage(version: HashVersion, percent: int) -> None:
    """Within three standard deviations on 10,000 units."""
    bucket = rollout_bucket(version, "debate_mode", "s1")
    share = sum(bucket(unit) < percent * 1000 for unit in UNITS) / len(UNITS)
    p = percent / 100
    assert abs(share - p) <= 3 * math.sqrt(p * (1 - p) / len(UNITS))


@pytest.mark.parametrize("version", HASH_VERSIONS)
def test_two_flags_are_independent(version: HashVersion) -> None:
    """At 50 % each, a quarter has both, and the correlation is next to nothing."""
    first, second = (rollout_bucket(version, key, "s1") for key in ("debate_mode", "mcp_tools"))
    half = BUCKETS // 2
    pairs = [(first(unit) < half, second(unit) < half) for unit in UNITS]
    both = sum(a and b for a, b in pairs) / len(UNITS)
    p, q = (sum(side) / len(UNITS) for side in zip(*pairs, strict=True))
    assert abs(both - 0.25) < 0.015
    assert abs(both - p * q) / math.sqrt(p * (1 - p) * q * (1 - q)) < 0.02


@pytest.mark.parametrize("version", HASH_VERSIONS)
def test_buckets_are_even(version: HashVersion) -> None:
    """Chi-square over 100 cells accepts at 0.1 % (148.2 for 99 degrees of freedom)."""
    bucket = rollout_bucket(version, "meta_planner", "s1")
    cells = [0] * 100
    for unit in UNITS:
        cells[bucket(unit) // 1000] += 1
    expected = len(UNITS) / 100
    assert sum((cell - expected) ** 2 / expected for cell in cells) < 148.2


def test_another_salt_deals_anew() -> None:
    """A restart may take the same people or independent ones."""
    first, second = (rollout_bucket("v2", "debate_mode", salt) for salt in ("s1", "s2"))
    half = BUCKETS // 2
    both = sum(first(unit) < half and second(unit) < half for unit in UNITS) / len(UNITS)
    assert abs(both - 0.25) < 0.015


def test_v3_does_not_confuse_where_names_end() -> None:
    """`ab` + `c` and `a` + `bc` are one text in v2 and two lists in v3."""
    assert fractional_hash("v2", "ab", "c") == fractional_hash("v2", "a", "bc")
    assert fractional_hash("v3", "ab", "c") != fractional_hash("v3", "a", "bc")


def test_what_cannot_be_hashed_is_nothing() -> None:
    """v2 hashes texts only; v3 everything but nothing and lists, whole floats as integers."""
    assert [value_hash("v2", value) for value in (None, "", 3, True, ["a"])] == [None] * 5
    assert [value_hash("v3", value) for value in (None, ["a"])] == [None] * 2
    assert value_hash("v3", 3) == value_hash("v3", 3.0) != value_hash("v3", "3")


def test_a_stored_unit_tells_nothing_without_the_pepper() -> None:
    """16 bytes, another pepper gives others, half a surrogate pair does not raise."""
    found = unit_hash("user-1", b"pepper")
    assert len(found) == 16
    assert found != unit_hash("user-1", b"other")
    assert found.hex() == "15da9a772389e8482ecfcc9f5fea6ddb"
    assert len(unit_hash("\ud800", b"pepper")) == 16
