"""Who writes, and when nobody does."""

from __future__ import annotations

from apps.core.domain.models import AnswerRequest, SearchSignals
from apps.orchestration.prompts import message
from tests.fakes.answering import BRIDGE, BUSAN, SEOUL, FakeIndex, Stage, heard, scripted

QUESTION = "서울의 인구는 몇 명인가?"


async def test_without_a_model_the_passages_are_quoted() -> None:
    """Extractive answering is a product mode: nothing is degraded by it."""
    record = await Stage().answer(QUESTION)
    assert (record.served_by, record.model, record.degraded) == ("extractive", None, ())
    assert record.grounded
    assert "940만" in record.answer
    assert record.citations[0].quote in SEOUL.passage.text


async def test_weak_evidence_abstains_when_quoting() -> None:
    """The caller gets the fixed sentence instead of the nearest passage."""
    index = FakeIndex((BUSAN,))
    index.signals = SearchSignals(lexical_top=1.0, lexical_gap=0.1, coverage=0.1)
    record = await Stage(index=index).answer("양자 컴퓨터를 처음 만든 회사는 어디인가?")
    assert (record.abstained, record.reason) == (True, "no_evidence")
    assert record.confidence == 0.0


async def test_a_list_of_hits_needs_no_writer() -> None:
    """Mode `search` pays no model and quotes nothing."""
    model = scripted("x")
    record = await Stage(model).answer(AnswerRequest(QUESTION, mode="search"))
    assert heard(model) == []
    assert record.answer == ""
    assert record.hits == (SEOUL, BUSAN)
    assert not record.abstained


async def test_each_mode_has_its_own_wording() -> None:
    """A summary is asked for as a summary."""
    model = scripted("서울의 인구는 940만 명이다 [1].")
    stage = Stage(model)
    await stage.answer(AnswerRequest(QUESTION, mode="summary"))
    await stage.answer(AnswerRequest(QUESTION, mode="keypoints"))
    systems = [call[0][1] for call in heard(model)]
    assert "한 문단" in systems[0]
    assert '"- "' in systems[1]


async def test_a_quotation_in_the_other_language_is_announced() -> None:
    """In the caller's language, before the quotation."""
    index = FakeIndex((BRIDGE,))
    record = await Stage(index=index).answer("The old river bridge 길이는 몇 metres 인가?")
    if not record.abstained:
        assert record.answer.startswith(message("compose.foreign", "ko"))
