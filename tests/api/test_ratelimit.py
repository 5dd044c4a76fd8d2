"""Counting requests of a key."""

from __future__ import annotations

from apps.api.ratelimit import Limiter
from tests.fakes.clock import FakeClock


def admitted(limiter: Limiter, times: int, **limits: int | None) -> int:
    """How many of `times` requests were let in."""
    allowances = [
        limiter.take("k", **{"per_minute": None, "per_day": None, **limits}) for _ in range(times)
    ]
    return sum(each is None or not each.refused for each in allowances)


def test_exactly_the_quota() -> None:
    """300 requests on a quota of 100 admit 100."""
    assert admitted(Limiter(FakeClock()), 300, per_minute=100) == 100


def test_no_limit() -> None:
    """A key without limits has no allowance to tell of."""
    limiter = Limiter(FakeClock())
    assert limiter.take("k", per_minute=None, per_day=None) is None


def test_the_tighter_window_tells() -> None:
    """Two windows both count; the one with less left is reported."""
    clock = FakeClock()
    limiter = Limiter(clock)
    assert admitted(limiter, 5, per_minute=3, per_day=4) == 3
    clock.pass_s(60)
    assert admitted(limiter, 5, per_minute=3, per_day=4) == 1


def test_a_refused_request_uses_up_nothing() -> None:
    """The day is not spent by what the minute refused."""
    clock = FakeClock()
    limiter = Limiter(clock)
    admitted(limiter, 50, per_minute=1, per_day=2)
    clock.pass_s(60)
    assert admitted(limiter, 1, per_minute=1, per_day=2) == 1


def test_keys_do_not_share() -> None:
    """One key's full window leaves another's alone."""
    limiter = Limiter(FakeClock())
    admitted(limiter, 5, per_minute=1)
    other = limiter.take("other", per_minute=1, per_day=None)
    assert other is not None
    assert not other.refused


def test_a_day_goes_on_after_a_restart() -> None:
    """What was counted before is not given again; an older figure takes nothing back."""
    limiter = Limiter(FakeClock())
    limiter.used_today("k", 9)
    limiter.used_today("k", 3)
    assert admitted(limiter, 5, per_day=10) == 1
