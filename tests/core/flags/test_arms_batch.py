"""Counts that wait for the database."""

from __future__ import annotations

from apps.core.flags.arms_batch import Gathered, Seen
from apps.core.flags.arms_recent import Lately
from apps.core.storage.rollout_counts import Batch, Cell, Tally, Unit, Vote
from tests.core.flags.arms import Desk

CELL = Cell("ro_1", 1, 0, "error", "canary")


def unit(name: str) -> Unit:
    """A unit of the canary."""
    return Unit("ro_1", 1, name, 0, "canary", 1.0)


def vote(name: str, at: float = 1.0) -> Vote:
    """A bad event of it."""
    return Vote("ro_1", 1, "error", name, 0, "canary", at)


def filled() -> Gathered:
    """One of each."""
    gathered = Gathered()
    gathered.sum(CELL).add(n=2, total=1.0)
    assert gathered.unit(unit("a"))
    assert gathered.vote(vote("a"))
    return gathered


def test_what_was_taken_is_gone() -> None:
    """A batch holds all, and afterwards nothing waits."""
    gathered = filled()
    batch = gathered.take()
    assert batch == Batch({CELL: Tally(2, 0, 1.0)}, (unit("a"),), (vote("a"),))
    assert not gathered


def test_a_unit_votes_once() -> None:
    """While it waits, and after the database has it."""
    gathered = filled()
    assert not gathered.vote(vote("a", 2.0))
    gathered.confirm(gathered.take())
    assert not gathered.vote(vote("a"))
    assert not gathered.unit(unit("a"))
    assert gathered.vote(vote("b"))


def test_what_could_not_be_stored_comes_first_again() -> None:
    """The older vote of a unit stays the one that counts, and sums add up."""
    gathered = filled()
    batch = gathered.take()
    gathered.vote(vote("b", 2.0))
    gathered.vote(vote("a", 2.0))
    gathered.sum(CELL).add(n=1)
    gathered.give_back(batch, sums=True)
    again = gathered.take()
    assert again.votes == (vote("a"), vote("b", 2.0))
    assert again.tallies == {CELL: Tally(3, 0, 1.0)}


def test_sums_of_an_unknown_outcome_are_not_told_twice() -> None:
    """Votes and units may be, the database sorts them out."""
    gathered = filled()
    gathered.give_back(gathered.take(), sums=False)
    assert gathered.take() == Batch({}, (unit("a"),), (vote("a"),))


def test_memory_is_bounded() -> None:
    """What has no room is counted, and comes again with the unit's next request."""
    gathered = Gathered(most=2)
    for name in "abc":
        gathered.unit(unit(name))
        gathered.vote(vote(name))
        gathered.sum(Cell("ro_1", 1, 0, name, "canary")).add(n=1)
    batch = gathered.take()
    assert (len(batch.units), len(batch.votes), len(batch.tallies)) == (2, 2, 2)
    assert gathered.dropped == 3


def test_the_newest_half_is_remembered() -> None:
    """Memory of what is stored is bounded too."""
    seen = Seen(most=4)
    for number in range(7):
        seen.add(number)
    assert 6 in seen
    assert 0 not in seen


def test_a_unit_counts_once_in_a_while() -> None:
    """And a request that is its own unit always does; the oldest are forgotten."""
    desk, lately = Desk(), Lately(again_s=600, most=2)
    user, other, third = (desk.exposed(name) for name in ("u", "v", "w"))
    single = desk.exposed(None)
    assert user and other and third and single
    assert lately.first(user, 0.0)
    assert not lately.first(user, 599.0)
    assert lately.first(user, 600.0)
    assert lately.first(single, 0.0)
    assert lately.first(single, 0.0)
    assert lately.first(other, 600.0)
    assert lately.first(third, 600.0)
    assert lately.first(user, 601.0)
