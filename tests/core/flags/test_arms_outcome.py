"""What of a request's end counts as bad."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from apps.core.domain.flags import FlagDecision, FlagValue
from apps.core.domain.models import AnswerRequest, SearchQuery, SearchResult, Usage
from apps.core.flags.arms_outcome import Outcome, answered, findings, searched
from apps.core.flags.rollout import Split
from apps.core.flags.searching import asked, choice, met, mode_by, rerank_by, said
from tests.core.flags.arms import TAU
from tests.fakes.answerer import record_of
from tests.fakes.flags import rolled_out

GOOD = record_of(AnswerRequest("?", request_id="r"))


def found(record: Any, *, has_models: bool = False) -> dict[str, bool]:
    """The findings of an answer."""
    return findings(answered(record, has_models=has_models), "debate_mode", TAU)


def test_a_good_answer_is_bad_in_nothing() -> None:
    """Every metric of an answer is known."""
    known = found(GOOD)
    assert not any(known.values())
    assert set(known) == {
        "error", "slow", "fallback", "node_error", "cost", "unsupported", "pii_miss",
    }  # fmt: skip
    assert answered(GOOD, has_models=False).quality == 0.83


@pytest.mark.parametrize(
    ("metric", "changed"),
    [
        ("error", {"answer": ""}),
        ("slow", {"timings_ms": {"total": 100.5}}),
        ("cost", {"usage": Usage(40, 11)}),
        ("unsupported", {"citations": ()}),
        ("unsupported", {"citations": (), "abstained": True, "reason": "no_evidence"}),
        ("node_error", {"degraded": ("debate_mode",)}),
        ("pii_miss", {"answer": "전화는 010-7391-4826이다. [1]"}),
    ],
)
def test_one_thing_is_bad(metric: str, changed: dict[str, Any]) -> None:
    """And nothing else is."""
    assert [name for name, bad in found(replace(GOOD, **changed)).items() if bad] == [metric]


def test_a_limit_is_not_yet_broken_when_it_is_met() -> None:
    """Above the 95th percentile begins after it."""
    record = replace(GOOD, timings_ms={"total": 100.0}, usage=Usage(25, 25))
    assert not any(found(record).values())


def test_the_first_link_of_the_chain_is_no_fallback() -> None:
    """With a model that is the model, without one it is quoting; abstaining is none either."""
    assert found(GOOD, has_models=True)["fallback"]
    assert not found(replace(GOOD, served_by="primary"), has_models=True)["fallback"]
    assert not found(replace(GOOD, abstained=True), has_models=True)["fallback"]


def test_small_talk_and_lists_have_no_quality() -> None:
    """Nothing in them could be supported."""
    talk = replace(GOOD, abstained=True, reason="smalltalk", citations=(), confidence=0.0)
    listed = replace(GOOD, mode="search", answer="", citations=())
    for record in (talk, listed):
        assert answered(record, has_models=True).quality is None
        assert not any(found(record, has_models=True).values())
        assert "unsupported" not in found(record)


def test_without_limits_nothing_is_slow_or_dear() -> None:
    """Before a stage has frozen them, both are not known."""
    assert not {"slow", "cost"} & set(findings(answered(GOOD, has_models=False), "x", {}))


def test_a_search_knows_its_errors_and_its_lost_legs() -> None:
    """A leg that was lost is a failure of its flag alone."""
    result = SearchResult((), 0, "lexical", "v", "ko", degraded=("dense",))
    outcome = searched((), "r", 1.0, duration_ms=5.0, result=result)
    assert findings(outcome, "hybrid_search", TAU)["node_error"]
    assert not findings(outcome, "reranker", TAU)["node_error"]
    assert findings(outcome, "reranker", TAU)["fallback"]
    assert findings(searched((), "r", 1.0, duration_ms=5.0, result=None), "reranker", TAU)["error"]


@pytest.mark.parametrize(("route", "name"), [("answer", "slow"), ("search", "slow_search")])
def test_each_route_has_its_own_limit(route: Literal["answer", "search"], name: str) -> None:
    """A search of 40 ms is slow among searches; the limit of answers says nothing of it."""
    outcome = Outcome((), "r", 1.0, route=route, duration_ms=40.0)
    other = {"slow": "slow_search", "slow_search": "slow"}[name]
    assert findings(outcome, "x", {name: 30.0, other: 1e9})["slow"]
    assert not findings(outcome, "x", {name: 40.0, other: 0.0})["slow"]
    assert "slow" not in findings(outcome, "x", {other: 30.0})


def test_of_a_request_that_was_left_only_slowness_can_be_known() -> None:
    """It took at least as long as its caller waited."""
    left = Outcome((), "r", 1.0, duration_ms=101.0, left=True)
    assert findings(left, "x", {"slow": 100.0}) == {"slow": True}
    assert findings(left, "x", {"slow": 101.0}) == findings(left, "x", {}) == {}


def test_a_list_is_a_search_and_has_no_tokens() -> None:
    """In the route of answers it would pull their limit down."""
    listed = answered(replace(GOOD, mode="search", answer=""), has_models=True)
    assert set(listed.spent) == {"slow_search"}
    assert set(answered(GOOD, has_models=True).spent) == {"slow", "cost"}


def test_a_failed_run_is_an_error_and_little_else_is_known() -> None:
    """Its answer does not exist."""
    known = findings(Outcome((), "r", 1.0, error=True, fallback=True), "debate_mode", TAU)
    assert known == {"error": True, "fallback": True, "pii_miss": False}


def test_the_retrieval_flags_choose() -> None:
    """What the environment said stays open, because the search's own options hold it too."""
    off = rolled_out().evaluate_all(None)
    assert (mode_by(off), rerank_by(off)) == ("lexical", False)
    told = rolled_out(environment={"hybrid_search": "true", "reranker": "false"})
    assert (mode_by(told.evaluate_all(None)), rerank_by(told.evaluate_all(None))) == (None, None)
    killed = rolled_out(environment={"hybrid_search": "true"}, kill_all=True)
    none_left = killed.evaluate_all(None)
    assert (mode_by(none_left), rerank_by(none_left)) == ("lexical", False)
    assert (mode_by({}), rerank_by({})) == (None, None)
    everybody = SearchQuery("q")
    assert choice(everybody, said({})) == everybody
    lexical = SearchQuery("q", mode="lexical", rerank=False)
    assert choice(everybody, off.searching) == lexical
    assert (asked(everybody, off), asked(lexical, off)) == (("hybrid_search", "reranker"), ())


@pytest.mark.parametrize(
    ("value", "weight"),
    [(0.7, 0.7), (0, 0.0), (1, 1.0), (1.5, None), (-0.1, None), (True, None), ("0.7", None)],
)
def test_a_flag_of_numbers_weighs_the_legs(value: FlagValue, weight: float | None) -> None:
    """A share counts, anything else leaves the weight to the configuration."""
    made = {"dense_weight": FlagDecision(False, "SPLIT", "ROLLOUT", variant="h", value=value)}
    hybrid = SearchQuery("q", mode="hybrid", rerank=False)
    assert choice(hybrid, said(made)).dense_weight == weight
    assert asked(hybrid, made) == ("dense_weight",)
    assert asked(hybrid._replace(mode="dense"), made) == ()


@pytest.mark.parametrize(("candidates", "came"), [(0, False), (1, False), (2, True), (None, True)])
def test_the_reranker_is_met_where_there_is_an_order(candidates: int | None, came: bool) -> None:
    """In both arms alike; a search that failed counts, or a reranker that breaks it would not."""
    found = None if candidates is None else SearchResult((), candidates, "lexical", "v", "en")
    for percent in (0, 100):
        flags = rolled_out(Split("reranker", percent, id="ro_r", epoch=1, stage=0))
        flagged = met(SearchQuery("q"), flags.evaluate_all(None), found)
        assert ("reranker" in flagged) is came
        assert "hybrid_search" in flagged
    assert "reranker" not in met(SearchQuery("q", rerank=True), flags.evaluate_all(None), found)
