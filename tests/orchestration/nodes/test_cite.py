"""The last word on an answer."""

from __future__ import annotations

import pytest

from apps.core.domain.models import AnswerRequest
from tests.fakes.answering import SEOUL, FakeIndex, Stage, scripted


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("서울의 인구는?", "제공된 문서에서 답을 찾지 못했습니다."),
        ("How many people?", "The provided documents do not contain the answer."),
    ],
)
@pytest.mark.parametrize("mode", ["answer", "summary", "keypoints", "search"])
async def test_nothing_found_is_said_so(question: str, sentence: str, mode: str) -> None:
    """A fixed sentence in the caller's language, with a reason, in every mode."""
    request = AnswerRequest(question, mode=mode)  # type: ignore[arg-type]
    record = await Stage(index=FakeIndex(())).answer(request)
    assert record.answer == sentence
    assert (record.abstained, record.grounded, record.reason) == (True, False, "no_evidence")


async def test_numbers_follow_first_use() -> None:
    """The first citation of the answer is [1], wherever its passage stood."""
    record = await Stage(
        scripted("부산의 인구는 330만 명이다 [2]. 서울의 인구는 940만 명이다 [1].")
    ).answer("서울과 부산의 인구는?")
    assert [c.doc_id for c in record.citations] == ["busan", "seoul"]
    assert record.answer == "부산의 인구는 330만 명이다. [1] 서울의 인구는 940만 명이다. [2]"


async def test_confidence_falls_with_what_was_dropped() -> None:
    """A reply of which half did not hold is worth less."""
    whole = await Stage(scripted("서울의 인구는 940만 명이다 [1].")).answer("서울의 인구는 몇 명?")
    half = await Stage(
        scripted("서울의 인구는 940만 명이다 [1]. 서울의 면적은 12제곱킬로미터이다 [1].")
    ).answer("서울의 인구는 몇 명?")
    assert 0 < half.confidence < whole.confidence <= 1
    assert half.citations[0].doc_id == SEOUL.passage.doc_id
