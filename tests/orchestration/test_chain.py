"""The chain of five under every fault of a provider, through the real Gemini client.

The caller never sees an error while a later link can answer; before the first text another link
takes over unseen; after it the stream ends with a typed failure and what was said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from apps.core.domain.models import AnswerRequest, Usage
from apps.core.errors import BadReply, ProviderBusy, ProviderFailure
from apps.core.llm import models as door
from apps.core.llm.models import NamedModel
from apps.orchestration import models as chain
from apps.orchestration.events import Complete, Data, Failed
from tests.fakes.answering import FakeIndex, FakeMemory, Stage, gemini_model, hit, scripted
from tests.fakes.clock import RunningClock
from tests.fakes.gemini import FAULTS, MID_STREAM, SILENT, FakeGemini, Mode, mode_of

QUESTION = "서울의 인구는 몇 명인가?"
FIRST = "서울의 인구는 940만 명이다 [1]. "
REPLY = FIRST + "서울은 대한민국의 수도이다 [1]. 부산의 인구는 330만 명이다 [2]."
BEFORE_TEXT = FAULTS
SHORT_S = 0.5


@pytest.fixture(autouse=True)
def short_limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a provider stays silent, the seconds that it may cost a test."""
    if mode_of(request) in SILENT:
        monkeypatch.setattr(door, "CALL_LIMIT_S", SHORT_S)
        monkeypatch.setattr(chain, "CALL_LIMIT_S", SHORT_S)


async def opened(*models: NamedModel, **more: Any) -> Stage:
    """A stage whose models are imported already, so that no limit runs out over that."""
    stage = Stage(*models, **more)
    await stage.chain.warm()
    return stage


@pytest.fixture
async def gemini() -> AsyncIterator[FakeGemini]:
    async with FakeGemini(reply=REPLY) as server:
        yield server


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("mode", BEFORE_TEXT)
async def test_the_secondary_takes_over(gemini: FakeGemini, mode: Mode, streaming: bool) -> None:
    """Whatever happens to the first model before its first word, the second answers."""
    gemini.mode = mode
    stage = await opened(gemini_model(gemini), scripted(REPLY, name="fake:two"))
    told = await stage.told(QUESTION, streaming=streaming)
    assert isinstance(told[-1], Complete)
    record = told[-1].record
    assert (record.served_by, record.model) == ("secondary", "fake:two")
    assert record.answer.startswith("서울의 인구는 940만 명이다")
    assert [name.split(":")[0] for name in record.degraded] == ["primary"]
    assert "".join(e.text for e in told if isinstance(e, Data)) == record.answer


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("mode", BEFORE_TEXT)
async def test_quoting_is_always_left(gemini: FakeGemini, mode: Mode, streaming: bool) -> None:
    """With one model only, its fault leaves the cited quotation."""
    gemini.mode = mode
    told = await (await opened(gemini_model(gemini))).told(QUESTION, streaming=streaming)
    assert isinstance(told[-1], Complete)
    record = told[-1].record
    assert (record.served_by, record.answer_origin) == ("extractive", "extractive")
    assert record.grounded
    assert record.citations[0].quote in "서울의 인구는 2023년 기준 940만 명이다."
    assert record.degraded


@pytest.mark.parametrize("mode", MID_STREAM)
async def test_a_plain_answer_survives_a_cut(gemini: FakeGemini, mode: Mode) -> None:
    """Nothing of the broken reply is in the answer, because nobody has read it yet."""
    gemini.mode = mode
    second = scripted("서울은 대한민국의 수도이다 [1].", name="fake:two")
    stage = await opened(gemini_model(gemini), second)
    record = await stage.answer(QUESTION)
    assert record.served_by == "secondary"
    assert record.answer == "서울은 대한민국의 수도이다. [1]"


@pytest.mark.parametrize("mode", MID_STREAM)
async def test_a_stream_that_has_spoken_fails_with_what_it_said(
    gemini: FakeGemini, mode: Mode
) -> None:
    """One terminal event, typed, with exactly the text that went out."""
    gemini.mode = mode
    stage = await opened(gemini_model(gemini), scripted(REPLY, name="fake:two"))
    told = await stage.told(QUESTION)
    assert isinstance(told[-1], Failed)
    assert isinstance(told[-1].error, ProviderBusy | BadReply)
    sent = "".join(e.text for e in told if isinstance(e, Data))
    assert told[-1].partial == sent == "서울의 인구는 940만 명이다. [1]"
    assert sum(isinstance(e, Complete | Failed) for e in told) == 1
    assert stage.recorder.records == []


async def test_a_stumble_is_tried_again(gemini: FakeGemini) -> None:
    """An overloaded moment costs a second call, not the model's answer."""
    gemini.then = ["503"]
    record = await (await opened(gemini_model(gemini))).answer(QUESTION)
    assert record.served_by == "primary"
    assert record.degraded == ()
    assert record.usage.llm_calls == len(gemini.calls) == 2


@pytest.mark.parametrize("mode", ["429", "hang", "401", "too_long"])
async def test_what_trying_again_cannot_help_is_not_tried(gemini: FakeGemini, mode: Mode) -> None:
    """Limits, hangs, refused keys and long prompts cost one call."""
    gemini.mode = mode
    await (await opened(gemini_model(gemini))).answer(QUESTION)
    assert len(gemini.calls) == 1


async def test_a_broken_provider_is_left_alone(gemini: FakeGemini) -> None:
    """After five failures in a row no call goes out for a minute, and the reason is shown."""
    gemini.mode = "429"
    stage = await opened(gemini_model(gemini))
    for number in range(8):
        await stage.answer(AnswerRequest(QUESTION, top_k=number + 1))
    assert len(gemini.calls) == 5
    last = stage.recorder.records[-1]
    assert last.degraded == ("primary:rate_limit_exceeded",)
    assert "left alone" in str(last.trace["models"])
    gemini.mode = "ok"
    stage.clock.pass_s(61)
    assert (await stage.answer(QUESTION)).served_by == "primary"


async def test_a_missing_key_degrades_with_a_reason() -> None:
    """The service answers by quoting, and the record says why."""

    def factory() -> object:
        raise ProviderFailure("GEMINI_API_KEY is not set.")

    model = NamedModel("google_genai:gemini-2.5-flash", factory)  # type: ignore[arg-type]
    record = await Stage(model).answer(QUESTION)
    assert record.served_by == "extractive"
    assert record.degraded == ("primary:provider_failure",)
    assert "GEMINI_API_KEY is not set" in str(record.trace["models"])


async def test_a_hanging_provider_leaves_time_for_the_rest(gemini: FakeGemini) -> None:
    """Each model gets its share of the request's time, and quoting its reserve."""
    gemini.mode = "hang"
    models = (gemini_model(gemini), gemini_model(gemini, model="gemini-2.5-pro"))
    stage = await opened(*models, clock=RunningClock(), REQUEST_TIMEOUT_S="1.5")
    record = await stage.answer(QUESTION)
    assert record.served_by == "extractive"
    assert len(record.degraded) == len(gemini.calls) == 2


async def test_a_request_in_a_hurry_is_quoted_at_once(gemini: FakeGemini) -> None:
    """With less time than the reserve, no model gets any of it."""
    gemini.mode = "hang"
    record = await (await opened(gemini_model(gemini))).answer(
        AnswerRequest(QUESTION, timeout_s=0.4)
    )
    assert record.served_by == "extractive"
    assert record.degraded == ("primary:rate_limit_exceeded",)


async def test_a_call_that_may_cost_too_much_is_not_made(gemini: FakeGemini) -> None:
    """`max_cost` is an upper bound on what is spent, in US dollars."""
    stage = await opened(gemini_model(gemini))
    poor = await stage.answer(AnswerRequest(QUESTION, max_cost=0.000001))
    assert (poor.served_by, poor.degraded) == ("extractive", ("primary:max_cost",))
    assert gemini.calls == []
    rich = await stage.answer(AnswerRequest(QUESTION, max_cost=1.0))
    assert rich.served_by == "primary"
    assert 0 < rich.usage.cost_usd < 0.001


async def test_what_ranking_has_cost_leaves_less_for_the_answer(gemini: FakeGemini) -> None:
    """`max_cost` is for the request, whoever of it asks a model."""
    stage = await opened(gemini_model(gemini))
    stage.index.spent = Usage(2000, 100, llm_calls=1, cost_usd=1.0)
    record = await stage.answer(AnswerRequest(QUESTION, max_cost=1.0))
    assert (record.served_by, record.usage.cost_usd) == ("extractive", 1.0)
    assert gemini.calls == []


async def remembered(index: FakeIndex) -> Stage:
    """A stage whose model has answered once and is now out of order."""
    memory = FakeMemory()
    before = FakeIndex()
    await Stage(scripted(REPLY), index=before, memory=memory).answer(QUESTION)
    broken = scripted(ConnectionResetError(), name="fake:one")
    stage = Stage(broken, index=index, memory=memory)
    stage.clock.pass_s(300)
    return stage


async def test_memory_comes_before_quoting() -> None:
    """When no model replies, an earlier answer is given again, with its age, over a new index."""
    index = FakeIndex()
    index.version = "20251122_0300"
    index.hits = tuple(reversed(index.hits))
    stage = await remembered(index)
    record = await stage.answer(QUESTION)
    assert (record.served_by, record.answer_origin) == ("cache", "cache")
    assert record.trace["cache"] == {"age_s": 300.0, "index_version": "20251121_0300"}
    assert record.index_version == "20251122_0300"
    assert record.degraded == ("primary:rate_limit_exceeded",)
    assert "940만 명" in record.answer
    assert record.citations[0].chunk_id == "seoul:0"


async def test_what_was_deleted_since_is_not_remembered() -> None:
    """A cited passage that is no longer found, or says something else, ends the memory."""
    changed = hit("seoul", "서울의 인구는 2024년 기준 930만 명이다. 서울은 대한민국의 수도이다.")
    index = FakeIndex((changed,))
    index.version = "20251122_0300"
    record = await (await remembered(index)).answer(QUESTION)
    assert record.served_by == "extractive"
    assert "940만" not in record.answer


async def test_memory_is_of_the_same_rights() -> None:
    """Another filter or tenant has other memories."""
    index = FakeIndex()
    index.version = "20251122_0300"
    stage = await remembered(index)
    assert (await stage.answer(AnswerRequest(QUESTION, top_k=3))).served_by == "extractive"


async def test_everything_failing_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when even quoting breaks does the caller see an error, and it has a code."""

    def broken(*_: object, **__: object) -> object:
        raise MemoryError

    monkeypatch.setattr("apps.orchestration.nodes.compose.extract", broken)
    error = await Stage().failure(QUESTION)
    assert (error.status, error.code) == (500, "system_failure")
