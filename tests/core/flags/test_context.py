"""What a header may ask for, and how requests become contexts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.core.domain.models import AnswerRequest, Caller
from apps.core.flags.context import FlagContext, context_of, foreign_context, parse_overrides


@pytest.mark.parametrize(
    ("header", "may_turn_on", "values", "ignored"),
    [
        ("", True, {}, 0),
        (
            "debate_mode=on;soft_q_bandit=off",
            True,
            {"debate_mode": True, "soft_q_bandit": False},
            0,
        ),
        (" debate_mode = ON ; ", True, {"debate_mode": True}, 0),
        ("debate_mode=on;mcp_tools=off", False, {"mcp_tools": False}, 1),
        ("debate_mode=on;debate_mode=off", True, {"debate_mode": False}, 0),
        ("debate_mode=off;debate_mode=on", True, {"debate_mode": False}, 0),
        ("debate_mode;=on;a=maybe;b==on", True, {}, 4),
        ("x" * 3000, True, {}, 1),
    ],
)
def test_the_header(header: str, may_turn_on: bool, values: dict[str, bool], ignored: int) -> None:
    """Off is for everybody, on needs the scope, and off wins when both are asked for."""
    found = parse_overrides(header, may_turn_on=may_turn_on)
    assert (dict(found.values), found.ignored) == (values, ignored)


def test_a_question_becomes_a_context() -> None:
    """Key id and tenant come from the caller, the targeting key is the first that is known."""
    caller = Caller("key-1", frozenset(), tenant="pilot")
    request = AnswerRequest(
        "?", session_id="s", request_id="r", caller=caller, language="ko", locale="en",
        endpoint="/answer", overrides={"a": False}, synthetic=True,
    )  # fmt: skip
    found = context_of(request, timestamp=5)
    assert found == FlagContext(
        targeting_key="s", session_id="s", api_key_id="key-1", tenant="pilot", locale="ko",
        endpoint="/answer", request_id="r", timestamp=5, overrides={"a": False},
        synthetic=True,
    )  # fmt: skip
    assert context_of(replace(request, language=None), timestamp=5).locale == "en"


def test_nobody_is_synthetic() -> None:
    """A decision without a request, e.g. to warm up, enters no statistics."""
    assert context_of(None, timestamp=5).synthetic


def test_a_foreign_context_fills_our_fields() -> None:
    """The targeting key stands for the user unless a user is named."""
    found = foreign_context("t", {"tenant": "pilot", "plan": "gold", "locale": 7}, timestamp=5)
    assert (found.targeting_key, found.user_id, found.tenant) == ("t", "t", "pilot")
    assert found.locale is None
    assert found.data()["plan"] == "gold"
    assert foreign_context("t", {"user_id": "u"}, timestamp=5).user_id == "u"
    assert foreign_context("", {}, timestamp=5).targeting_key is None


def test_attributes_cannot_pretend_to_be_fields() -> None:
    """Neither the user nor what flagd tells rules."""
    context = FlagContext(user_id="kim", attributes={"user_id": "lee", "$flagd": 1})
    data = context.data()
    assert data["user_id"] == "kim"
    assert data["$flagd"] == {"flagKey": "", "timestamp": 0}
