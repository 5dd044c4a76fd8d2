"""A question that waits keeps its flags and its arm, and not who asked."""

from __future__ import annotations

import json
from dataclasses import replace

from apps.api.frozen import frozen, thawed
from apps.core.domain.flags import FlagDecision
from apps.core.domain.models import AnswerRequest, Caller
from apps.core.flags.evaluation import Evaluation
from tests.core.flags.arms import PEPPER, Desk

CALLER = Caller("k1", frozenset({"answer"}), "tenant")


def again(asked: AnswerRequest) -> AnswerRequest:
    """Through JSON and back, as through the database."""
    return thawed(json.loads(json.dumps(frozen(asked, pepper=PEPPER))))


def test_the_arm_and_the_unit_stay() -> None:
    """A takeover meets the arm of the first try, as the same unit, under the same hash."""
    desk = Desk()
    (user,) = desk.users("canary", 1)
    asked = AnswerRequest("q", user_id=user, request_id="r", caller=CALLER)
    kept = frozen(replace(asked, decisions=desk.evaluation(user)), pepper=PEPPER)
    assert user not in json.dumps(kept)
    back = thawed(kept)
    assert isinstance(back.decisions, Evaluation)
    assert (back.caller, back.user_id) == (CALLER, None)
    first = desk.exposed(user)
    met = desk.arms.expose(back.decisions, "debate_mode", node="debate_mode", request_id="r")
    assert met == first


def test_a_request_that_is_its_own_unit_is_known_again() -> None:
    """It may come twice now, so the database must tell it from itself."""
    desk = Desk()
    asked = AnswerRequest("q", request_id="r", decisions=desk.evaluation(None, "r"))
    back = again(asked).decisions
    assert isinstance(back, Evaluation)
    met = desk.arms.expose(back, "debate_mode", node="debate_mode", request_id="r")
    first = desk.exposed(None, "r")
    assert first is not None
    assert met == replace(first, sticky=True)


def test_values_of_flags_are_plain_json() -> None:
    """A variant may stand for an object, which the flags keep read-only."""
    made = FlagDecision(False, "STATIC", "SQL", variant="v", value={"a": [1, {"b": 2.5}]})
    asked = AnswerRequest("q", decisions={"f": made})
    assert dict(again(asked).decisions or {}) == {"f": made}


def test_a_kill_forgets_no_hash() -> None:
    """What a stored evaluation has in place of its units comes through a kill of another flag."""
    on = FlagDecision(True, "SPLIT", "SQL", arm="canary")
    stored = Evaluation(1, {"a": on, "b": on}, hashes={"a": b"h"})
    assert stored.without(frozenset({"b"})).unit_hash("a", PEPPER) == b"h"
