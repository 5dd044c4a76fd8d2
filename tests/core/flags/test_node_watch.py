"""The health check of a flag's node in one worker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.core.domain.flags import Exposed
from apps.core.flags.node_watch import FAILURES, NodeWatch

MET = Exposed("debate_mode", "canary", "debate_mode", "r1", 2, 0, "u0", sticky=True)


def failing(watch: NodeWatch, *, units: int, met: Exposed = MET) -> None:
    for n in range(units):
        watch.note(replace(met, unit_hash=f"u{n}"), failed=True)


def failed_units(watch: NodeWatch) -> int:
    (sign,) = watch.signs()
    return sign.failed_units


def test_failures_of_several_units_in_a_row_are_told_once() -> None:
    """As many as stop the calls of a dependency; one success ends it, which is told too."""
    told: list[int] = []
    watch = NodeWatch(lambda: told.append(failed_units(watch)))
    failing(watch, units=FAILURES - 1)
    assert (failed_units(watch), told) == (FAILURES - 1, [])
    failing(watch, units=FAILURES + 3)
    assert (failed_units(watch), told) == (FAILURES, [FAILURES])
    watch.note(MET, failed=False)
    assert (failed_units(watch), told) == (0, [FAILURES, 0])


def test_one_customer_whose_questions_always_fail_is_no_sick_node() -> None:
    """A unit counts once until the node has worked again."""
    watch = NodeWatch()
    for _ in range(100):
        watch.note(MET, failed=True)
    assert [(sign.runs, sign.failed_units) for sign in watch.signs()] == [(100, 1)]


def test_every_attempt_begins_anew() -> None:
    """Nor can a late answer of the attempt before speak for this one."""
    watch = NodeWatch()
    failing(watch, units=FAILURES)
    watch.note(replace(MET, epoch=3), failed=True)
    watch.note(MET, failed=False)
    assert [(sign.epoch, sign.runs, sign.failed_units) for sign in watch.signs()] == [(3, 1, 1)]
    failing(watch, units=2, met=replace(MET, rollout="r2", epoch=1))
    assert [(sign.rollout, sign.failed_units) for sign in watch.signs()] == [("r2", 2)]


@pytest.mark.parametrize("missing", ["rollout", "epoch"])
def test_a_share_by_hand_has_no_attempt(missing: str) -> None:
    """Nobody would ask for its health."""
    watch = NodeWatch()
    watch.note(replace(MET, **{missing: None}), failed=True)
    assert list(watch.signs()) == []
