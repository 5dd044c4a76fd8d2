"""What was used last is kept, within a bound."""

from __future__ import annotations

from apps.core.retrieval.recent import Recent


def test_what_is_used_stays() -> None:
    """An entry that is asked for again and again outlives any number of others."""
    recent: Recent[int, int] = Recent(10)
    recent.put(0, 7)
    for key in range(1, 100):
        recent.put(key, key)
        assert recent.get(0) == 7


def test_the_newer_half_is_there_and_no_more_than_all() -> None:
    """At most as many as were asked for, and at least half of them."""
    recent: Recent[int, int] = Recent(10)
    for key in range(100):
        recent.put(key, key)
    kept = [key for key in range(100) if key in recent._young or key in recent._old]
    assert kept[-5:] == [95, 96, 97, 98, 99]
    assert len(kept) <= 10


def test_nothing_is_kept_of_none() -> None:
    """Nought entries turn it off."""
    recent: Recent[str, int] = Recent(0)
    recent.put("a", 1)
    assert recent.get("a") is None
