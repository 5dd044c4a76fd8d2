"""The breaker's promises, on a clock that stands still, and the arithmetic of pauses."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from apps.core.resilience import Breaker, Permit, allowance_s, wait_s
from tests.fakes.clock import FakeClock


def opened(clock: FakeClock) -> Breaker:
    breaker = Breaker("x", clock)
    for _ in range(5):
        permit = breaker.admit()
        assert permit is not None
        permit.fail()
    return breaker


def probe(breaker: Breaker) -> Permit:
    permit = breaker.admit()
    assert permit is not None
    return permit


def test_the_fifth_failure_in_a_row_opens_it() -> None:
    """Five consecutive failures stop the calls, and the caller learns for how long."""
    breaker = opened(FakeClock())
    assert breaker.state == "open"
    assert breaker.admit() is None
    assert breaker.retry_after_s == 60.0


def test_a_success_forgets_earlier_failures() -> None:
    """Only consecutive failures count."""
    breaker = Breaker("x", FakeClock())
    for _ in range(4):
        probe(breaker).fail()
    probe(breaker).succeed()
    for _ in range(4):
        probe(breaker).fail()
    assert breaker.state == "closed"


def test_half_open_admits_three_at_a_time() -> None:
    """Of a hundred waiting calls three pass."""
    clock = FakeClock()
    breaker = opened(clock)
    clock.pass_s(60)
    assert sum(breaker.admit() is not None for _ in range(100)) == 3
    assert breaker.state == "half_open"


def test_three_successful_probes_close_it() -> None:
    """It closes at the third success, not before."""
    clock = FakeClock()
    breaker = opened(clock)
    clock.pass_s(60)
    for expected in ("half_open", "half_open", "closed"):
        probe(breaker).succeed()
        assert breaker.state == expected


def test_one_failed_probe_opens_it_again() -> None:
    """A failure in half-open starts the full pause again."""
    clock = FakeClock()
    breaker = opened(clock)
    clock.pass_s(60)
    probe(breaker).fail()
    assert breaker.state == "open"
    assert breaker.retry_after_s == 60.0


def test_a_cancelled_probe_gives_its_place_back() -> None:
    """A call that says nothing neither closes nor opens, and blocks nobody."""
    clock = FakeClock()
    breaker = opened(clock)
    clock.pass_s(60)
    for _ in range(10):
        probe(breaker).release()
    assert breaker.state == "half_open"
    assert breaker.admit() is not None


def test_a_late_answer_from_before_says_nothing() -> None:
    """A call that began before the breaker opened cannot close or open it later."""
    clock = FakeClock()
    breaker = Breaker("x", clock)
    slow = [probe(breaker) for _ in range(3)]
    for _ in range(5):
        probe(breaker).fail()
    clock.pass_s(60)
    assert breaker.state == "half_open"
    slow[0].fail()
    slow[1].succeed()
    assert breaker.state == "half_open"


def test_every_change_is_told_once() -> None:
    """The listener hears each state that was entered, in order."""
    clock, heard = FakeClock(), []
    breaker = Breaker("x", clock, listener=lambda name, state: heard.append((name, state)))
    for _ in range(5):
        probe(breaker).fail()
    clock.pass_s(61)
    for _ in range(3):
        probe(breaker).succeed()
    assert heard == [("x", "open"), ("x", "half_open"), ("x", "closed")]


class BreakerLaws(RuleBasedStateMachine):
    """Whatever the order of calls, results and time."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.breaker = Breaker("x", self.clock)
        self.probing: list[Permit] = []

    @rule(target=permits)
    def ask(self) -> Permit | None:
        state, permit = self.breaker.state, self.breaker.admit()
        assert not (state == "open" and permit)
        assert not (state == "closed" and permit is None)
        if permit and state == "half_open":
            self.probing.append(permit)
        return permit

    @rule(permit=consumes(permits), outcome=st.sampled_from(["succeed", "fail", "release"]))
    def settle(self, permit: Permit | None, outcome: str) -> None:
        if permit is None:
            return
        getattr(permit, outcome)()
        getattr(permit, outcome)()  # a second word about the same call is ignored
        if permit in self.probing:
            self.probing.remove(permit)

    @rule(seconds=st.sampled_from([0.5, 30.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.pass_s(seconds)

    @invariant()
    def probes_are_bounded(self) -> None:
        current = [p for p in self.probing if p.epoch == self.breaker._epoch]
        assert len(current) <= 3


TestBreakerLaws = BreakerLaws.TestCase
TestBreakerLaws.settings = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_call_never_takes_what_the_fallback_needs() -> None:
    """The allowance is the own limit, less when the time left is short, and never negative."""
    assert allowance_s(30, 100) == 30
    assert allowance_s(30, 10, reserve_s=0.5) == 9.5
    assert allowance_s(30, 0.2, reserve_s=0.5) == 0


def test_pauses_double_up_to_a_ceiling() -> None:
    """The pause is drawn between 0 and base times a power of two, capped."""
    rng = random.Random(1)
    assert all(0 <= wait_s(1, base_s=0.5, cap_s=8, rng=rng) <= 0.5 for _ in range(100))
    assert max(wait_s(9, base_s=0.5, cap_s=8, rng=rng) for _ in range(1000)) <= 8
    assert max(wait_s(3, base_s=0.5, cap_s=8, rng=rng) for _ in range(1000)) > 1.5
