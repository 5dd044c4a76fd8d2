"""How what a node writes joins what was there."""

from __future__ import annotations

from apps.core.domain.models import AnswerRequest, Usage
from apps.core.flags.evaluation import Evaluation
from apps.orchestration.records import Begun, initial
from apps.orchestration.state import MERGED, AnswerState, updated


def begun() -> AnswerState:
    """The state of a run that has just begun."""
    return initial(
        Begun(AnswerRequest("q"), "a", Evaluation(0, {}), 0.0, 0.0, streaming=False), "v"
    )


def test_the_merged_keys_are_those_that_say_so() -> None:
    """What a key's annotation promises is what happens."""
    assert set(MERGED) == {"degraded", "nodes", "usage", "trace"}


def test_merged_keys_are_joined_and_others_replaced() -> None:
    """Names are kept in order and once, usage adds up, later records win."""
    state = begun()
    for name in ("compose", "cite"):
        state = updated(
            state,
            {
                "draft": name,
                "degraded": ["primary"],
                "nodes": [name],
                "usage": Usage(llm_calls=1),
                "trace": {name: 1, "last": name},
            },
        )
    assert state["draft"] == "cite"
    assert state["degraded"] == ["primary"]
    assert state["nodes"] == ["compose", "cite"]
    assert state["usage"].llm_calls == 2
    assert state["trace"] == {"compose": 1, "cite": 1, "last": "cite"}


def test_the_state_before_stays_as_it_was() -> None:
    """A listener may still hold it."""
    state = begun()
    updated(state, {"nodes": ["x"], "draft": "y", "trace": {"a": 1}})
    assert state == begun()


def test_an_empty_update_changes_nothing() -> None:
    """A node may have nothing to say."""
    assert updated(begun(), {}) == begun()
