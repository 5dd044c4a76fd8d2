"""The measurement counts what it says it counts."""

from __future__ import annotations

import dataclasses

import pytest

from apps.core.domain.models import (
    AnswerRecord,
    AnswerRequest,
    Citation,
    Hit,
    Passage,
    SearchQuery,
    SearchResult,
    Source,
    Usage,
)
from apps.core.text.gold import GoldQuestion
from apps.orchestration.evaluation import (
    broken_citations,
    contains,
    evaluate_answers,
    unsupported_numbers,
)

TEXT = "요금은 30분에 1,000원이다. 대여소는 46곳이다."
HIT = Hit(Passage("p1", "d1", "", TEXT, 50, 50 + len(TEXT), "ko"), 1.0)
QUOTE = "요금은 30분에 1,000원이다."
SPAN = (50, 50 + len(QUOTE))
CITATION = Citation(1, "p1", "d1", "", QUOTE, SPAN, Source(), 1.0)
ANSWERED = AnswerRecord(
    answer_id="a",
    request_id="r",
    question_masked="",
    answer="1,000원이다. [1]",
    language="ko",
    mode="answer",
    grounded=True,
    confidence=0.9,
    citations=(CITATION,),
    hits=(HIT,),
    abstained=False,
    reason=None,
    decisions={},
    nodes=(),
    degraded=(),
    served_by="extractive",
    answer_origin="extractive",
    usage=Usage(),
    timings_ms={},
    index_version="v",
    model=None,
    created_at=0.0,
)
ABSTAINED = dataclasses.replace(ANSWERED, answer="없습니다.", citations=(), abstained=True)


class Search:
    """Finds the one passage whatever is asked."""

    async def search(self, query: SearchQuery) -> SearchResult:
        return SearchResult((HIT,), 1, "lexical", "v", "ko")


class StepClock:
    """Each look costs two milliseconds."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks * 0.002


async def answer(request: AnswerRequest) -> AnswerRecord:
    """Abstains when the question says so."""
    return ABSTAINED if "보류" in request.question else ANSWERED


async def test_the_figures() -> None:
    """Two of three answerable answers are right, one of two abstentions is."""
    gold = frozenset({"p1"})
    questions = [
        GoldQuestion("q1", "요금은?", ("1000원",), gold),
        GoldQuestion("q2", "요금은 얼마?", ("2,000원",), gold),
        GoldQuestion("q3", "보류 요금?", ("1,000원",), gold),
        GoldQuestion("q4", "다른 곳의 요금은?", ("1,000원",), frozenset({"elsewhere"})),
        GoldQuestion("q5", "보류할 것?", answerable=False),
        GoldQuestion("q6", "답하면 안 되는 것?", answerable=False),
    ]
    report = await evaluate_answers(questions, search=Search(), answer=answer, clock=StepClock())
    assert report.as_json() == {
        "n": 6,
        "answered": 4,
        "contains_gold": pytest.approx(1 / 3),
        "contains_gold_n": 3,
        "quote_contains_gold": pytest.approx(1 / 2),
        "quote_n": 2,
        "abstention_precision": pytest.approx(1 / 2),
        "abstention_recall": pytest.approx(1 / 2),
        "unsupported_numbers": 0,
        "citations_broken": 0,
        "latency_ms": pytest.approx(2.0),
    }


async def test_nothing_measured_is_null() -> None:
    """A share of nothing is None, not zero."""
    report = await evaluate_answers([], search=Search(), answer=answer, clock=StepClock())
    assert report.contains_gold is None
    assert report.abstention_recall is None
    assert report.latency_ms is None


@pytest.mark.parametrize(
    ("text", "gold", "found"),
    [
        ("요금은 1,000 원이다", "1000원", True),
        ("The  Quick, brown fox", "quick brown", True),
        ("15명", "5", True),
        ("3.5%", "35%", False),
        ("무엇", "", False),
    ],
)
def test_contains(text: str, gold: str, *, found: bool) -> None:
    """Case, space, punctuation and thousands do not count."""
    assert contains(text, (gold,)) is found


def test_broken_citations() -> None:
    """A mark without citation, a quote that is not there, a passage that was not offered."""
    assert broken_citations(ANSWERED) == 0
    assert broken_citations(dataclasses.replace(ANSWERED, answer="그렇다. [1][2]")) == 1
    moved = dataclasses.replace(CITATION, span=(SPAN[0] + 1, SPAN[1] + 1))
    stranger = dataclasses.replace(CITATION, chunk_id="p9")
    empty = dataclasses.replace(CITATION, span=(50, 50), quote="")
    for bad in (moved, stranger, empty):
        assert broken_citations(dataclasses.replace(ANSWERED, citations=(bad,))) == 1


def test_unsupported_numbers() -> None:
    """A number must stand in a quote, not only in the passage."""
    assert unsupported_numbers(ANSWERED) == 0
    assert unsupported_numbers(dataclasses.replace(ANSWERED, answer="46곳이다. [1]")) == 1
    assert unsupported_numbers(ABSTAINED) == 0
