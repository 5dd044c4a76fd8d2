"""One path from question to record: what is told, what is remembered, what happens at the edges."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from apps.core.domain.models import AnswerRecord, AnswerRequest, Caller, Filters
from apps.core.errors import IndexNotReady, StorageDown
from apps.orchestration.events import Complete, Data, Event, Failed, Metadata, Progress
from tests.fakes.answering import (
    BUSAN,
    SEOUL,
    FakeIndex,
    FakeMemory,
    Stage,
    gemini_model,
    scripted,
)
from tests.fakes.gemini import FakeGemini

QUESTION = "서울의 인구는 몇 명인가?"
TRUE = "서울의 인구는 940만 명이다 [1]. 서울은 대한민국의 수도이다 [1]."


def text_of(events: list[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, Data))


def lawful(events: list[Event]) -> None:
    """One Metadata first, one terminal event last, and the text is the answer."""
    assert isinstance(events[0], Metadata)
    assert sum(isinstance(e, Metadata) for e in events) == 1
    assert sum(isinstance(e, Complete | Failed) for e in events) == 1
    assert isinstance(events[-1], Complete)
    assert text_of(events) == events[-1].record.answer


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    "request_",
    [
        AnswerRequest(QUESTION),
        AnswerRequest(QUESTION, mode="summary"),
        AnswerRequest(QUESTION, mode="keypoints"),
        AnswerRequest(QUESTION, mode="search"),
        AnswerRequest("안녕하세요"),
        AnswerRequest("thank you!"),
    ],
    ids=["answer", "summary", "keypoints", "search", "greeting", "thanks"],
)
async def test_the_text_is_the_answer(request_: AnswerRequest, streaming: bool) -> None:
    """Whatever is asked and however it is told, with a model, without one, and from the cache."""
    for stage in (Stage(), Stage(scripted(TRUE)), Stage(index=FakeIndex(()))):
        lawful(await stage.told(request_, streaming=streaming))
        lawful(await stage.told(request_, streaming=streaming))


async def test_a_record_says_what_happened() -> None:
    """Names, passages, model, tokens and time are in it, and it reaches the recorder."""
    stage = Stage(scripted(TRUE))
    record = await stage.answer(AnswerRequest(QUESTION, request_id="r1"))
    assert stage.recorder.records == [record]
    assert record.request_id == "r1"
    assert len(record.answer_id) == 32
    assert record.nodes == ("understand", "retrieve", "compose", "cite")
    assert (record.served_by, record.model) == ("primary", "fake:one")
    assert record.hits == (SEOUL, BUSAN)
    assert record.grounded
    assert record.usage.llm_calls == 1
    assert record.usage.input_tokens == 50
    assert set(record.timings_ms) == {"total", *record.nodes}
    assert record.index_version == stage.index.version


async def test_plain_and_streamed_give_the_same_answer() -> None:
    """Only the moments differ at which text goes out."""
    plain = await Stage(scripted(TRUE)).answer(QUESTION)
    streamed = (await Stage(scripted(TRUE)).told(QUESTION))[-1]
    assert streamed == Complete(plain)


async def test_text_goes_out_before_the_answer_is_finished() -> None:
    """The first sentence is sent while the model still speaks."""
    told = await Stage(scripted(TRUE)).told(QUESTION)
    first = next(i for i, e in enumerate(told) if isinstance(e, Data))
    assert told.index(Progress("compose", "ended")) > first


async def test_metadata_knows_the_passages() -> None:
    """It comes before all progress, although retrieval came first."""
    told = await Stage().told(QUESTION)
    assert isinstance(told[0], Metadata)
    assert told[0].hits == (SEOUL, BUSAN)
    assert told[1] == Progress("understand", "started")


async def test_a_run_that_fails_before_anything_was_sent_only_fails() -> None:
    """Without an index there is one event, so that the caller can still answer with a status."""
    stage = Stage()
    stage.index.failure = IndexNotReady("no version is open")
    told = await stage.told(QUESTION)
    assert [type(e) for e in told] == [Failed]
    assert isinstance(told[0].error, IndexNotReady)
    assert isinstance(await stage.failure(QUESTION), IndexNotReady)


async def test_a_mistake_of_ours_is_raised_and_ends_the_stream() -> None:
    """What is no failure of the product reaches the last handler, and nobody waits for ever."""
    stage = Stage()

    async def record(_: AnswerRecord) -> None:
        raise ZeroDivisionError

    stage.pipeline = replace(stage.pipeline, record=record)
    with pytest.raises(ZeroDivisionError):
        await stage.answer(QUESTION)


async def test_an_answer_outlives_its_database() -> None:
    """The caller gets it, and is told that it was not recorded."""
    stage = Stage()
    stage.recorder.down = True
    record = await stage.answer(QUESTION)
    assert record.degraded == ("record",)


async def test_no_time_left_is_a_typed_error() -> None:
    """A request that begins after its deadline does no work."""
    stage = Stage()
    error = await stage.failure(AnswerRequest(QUESTION, timeout_s=-1.0))
    assert error.code == "deadline_exceeded"
    assert stage.index.asked == []


async def test_the_same_question_is_answered_from_the_cache() -> None:
    """The text is the same, the record is new, nothing is asked again and the age is shown."""
    stage = Stage(scripted(TRUE))
    first = await stage.answer(QUESTION)
    stage.clock.pass_s(12)
    again = await stage.answer("  서울의   인구는 몇 명인가? ")
    assert (again.answer, again.citations) == (first.answer, first.citations)
    assert (again.served_by, again.answer_origin) == ("cache", "cache")
    assert again.answer_id != first.answer_id
    assert again.usage.llm_calls == 0
    assert again.trace["cache"] == {"age_s": 12.0, "index_version": first.index_version}
    assert len(stage.index.asked) == 1
    assert stage.recorder.records == [first, again]


async def test_a_record_names_the_key_that_asked() -> None:
    """Also when the answer came from the cache, where another key had put it."""
    stage = Stage(scripted(TRUE))
    callers = [Caller(key_id, frozenset({"answer"})) for key_id in ("first", "second", None)]
    records = [await stage.answer(AnswerRequest(QUESTION, caller=each)) for each in callers]
    assert [record.key_id for record in records] == ["first", "second", None]
    assert [record.served_by for record in records[1:]] == ["cache", "cache"]


async def test_the_cached_record_survives_json() -> None:
    """The second level keeps JSON, so a record must come back equal."""
    codec = TypeAdapter(AnswerRecord)
    record = await Stage(scripted(TRUE)).answer(QUESTION)
    assert codec.validate_json(codec.dump_json(record)) == record


@pytest.mark.parametrize(
    "other",
    [
        AnswerRequest(QUESTION, caller=Caller("k", frozenset({"answer"}), tenant="b")),
        AnswerRequest(QUESTION, top_k=4),
        AnswerRequest(QUESTION, mode="summary"),
        AnswerRequest(QUESTION, language="ko"),
        AnswerRequest(QUESTION, filters=Filters(tags=("x",))),
        AnswerRequest("부산의 인구는 몇 명인가?"),
        AnswerRequest(QUESTION, history=(("user", "hello"),)),
    ],
    ids=["tenant", "top_k", "mode", "language", "filters", "question", "history"],
)
async def test_whatever_matters_is_part_of_the_key(other: AnswerRequest) -> None:
    """Another tenant, option, question or a history never gets this answer."""
    stage = Stage()
    await stage.answer(QUESTION)
    assert (await stage.answer(other)).served_by != "cache"


async def test_another_index_flag_or_model_is_another_answer() -> None:
    """The key covers the index version, the flags and the models' names."""
    memory = FakeMemory()
    await Stage(memory=memory).answer(QUESTION)
    newer = FakeIndex()
    newer.version = "20251122_0300"
    assert (await Stage(memory=memory, index=newer).answer(QUESTION)).served_by != "cache"
    assert (await Stage(scripted(TRUE), memory=memory).answer(QUESTION)).served_by == "primary"
    ranked = Stage(memory=memory, DTRAG_RERANKER="http://127.0.0.1:9")
    assert (await ranked.answer(QUESTION)).served_by != "cache"
    assert (await Stage(memory=memory).answer(QUESTION)).served_by == "cache"


async def test_only_good_answers_are_remembered() -> None:
    """An abstention, a greeting, a list of hits, a degraded answer or one with history is not."""
    stage = Stage(index=FakeIndex(()))
    await stage.answer(QUESTION)
    await stage.answer("안녕하세요")
    assert stage.memory.kept == {}
    found = Stage(scripted(StorageDown("odd")))
    await found.answer(AnswerRequest(QUESTION, mode="search"))
    await found.answer(QUESTION)
    await found.answer(AnswerRequest(QUESTION, history=(("user", "x"),)))
    assert found.memory.kept == {}


async def test_a_question_is_recorded_masked() -> None:
    """Personal data of the question is in no record and goes to no model."""
    stage = Stage()
    record = await stage.answer("010-1234-5678 고객이 물은 서울의 인구는?")
    assert "1234-5678" not in record.question_masked
    assert "01**-****-****" in record.question_masked


async def test_who_stops_listening_ends_the_model_call() -> None:
    """Closing the stream cancels the run, and the provider's connection with it."""
    async with FakeGemini(reply=TRUE * 3, mode="stall") as gemini:
        stage = Stage(gemini_model(gemini))
        async with aclosing(stage.pipeline.stream(AnswerRequest(QUESTION))) as events:
            async for event in events:
                if isinstance(event, Data):
                    break
        async with asyncio.timeout(2):
            await gemini.left.wait()
        assert stage.recorder.records == []


async def test_a_cancelled_caller_ends_the_run() -> None:
    """A plain answer that nobody waits for any more is not computed to its end."""
    async with FakeGemini(mode="hang") as gemini:
        stage = Stage(gemini_model(gemini))
        task = asyncio.create_task(stage.answer(QUESTION))
        await gemini.called.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            await gemini.left.wait()
