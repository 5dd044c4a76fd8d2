"""What is asked of the index."""

from __future__ import annotations

from apps.core.domain.models import AnswerRequest, Filters, SearchQuery
from tests.fakes.answering import Stage


async def test_the_question_goes_to_the_index_with_its_filters() -> None:
    """Mode and weights are left to the index, unless an agent has chosen them."""
    stage = Stage()
    filters = Filters(tags=("policy",))
    await stage.answer(AnswerRequest("서울의 인구는?", top_k=3, filters=filters))
    assert stage.index.asked == [SearchQuery("서울의 인구는?", top_k=3, filters=filters)]


async def test_a_missing_leg_is_named() -> None:
    """What the search had to leave out is in the record, and such an answer is not remembered."""

    stage = Stage()
    whole = stage.index.search

    async def without_vectors(query: SearchQuery):  # type: ignore[no-untyped-def]
        return (await whole(query))._replace(degraded=("dense",))

    stage.index.search = without_vectors  # type: ignore[method-assign]
    record = await stage.answer("서울의 인구는 몇 명인가?")
    assert record.degraded == ("dense",)
    assert stage.memory.kept == {}
