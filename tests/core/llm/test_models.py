"""The configured models, and what the real Gemini client does at our door when things go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from apps.core.errors import (
    BadReply,
    DtRagError,
    PromptTooLong,
    ProviderBusy,
    ProviderFailure,
)
from apps.core.llm import models
from apps.core.llm.models import Message, NamedModel, Piece, chat_models, pieces
from apps.core.settings import Settings, load
from tests.fakes.gemini import SILENT, FakeGemini, Mode, mode_of

KEY = {"GEMINI_API_KEY": "test-key"}
QUESTION: list[Message] = [("system", "be brief"), ("human", "how many?")]
REPLY = "서울의 인구는 940만 명이다 [1]. 부산은 330만 명이다 [2]."


def settings(**values: str) -> Settings:
    return load({"DTRAG_HOME": "no-such-directory", **values})


@pytest.fixture
async def gemini() -> AsyncIterator[FakeGemini]:
    async with FakeGemini(reply=REPLY) as server:
        yield server


@pytest.fixture(autouse=True)
def short_limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own time limit, so that a silent server costs no time."""
    if mode_of(request) in SILENT:
        monkeypatch.setattr(models, "CALL_LIMIT_S", 0.5)


def named(server: FakeGemini) -> NamedModel:
    return chat_models(settings(**KEY, GEMINI_BASE_URL=server.url))[0]


async def said(server: FakeGemini) -> list[Piece]:
    model = named(server)
    chat = await asyncio.to_thread(model.factory)
    return [piece async for piece in pieces(chat, model.name, QUESTION, max_tokens=55)]


def test_without_a_key_there_is_no_model() -> None:
    """No key and no list: the service answers extractively."""
    assert chat_models(settings()) == []


def test_a_key_alone_means_gemini() -> None:
    """The default model is the one that the requirements name."""
    assert [m.name for m in chat_models(settings(**KEY))] == ["google_genai:gemini-2.5-flash"]


def test_the_list_gives_the_order() -> None:
    """Names keep their order, the short name of Gemini is known, `none` adds nothing."""
    listed = settings(DTRAG_LLM="openai:gpt-4.1-mini, gemini:gemini-2.5-pro,none")
    names = [m.name for m in chat_models(listed)]
    assert names == ["openai:gpt-4.1-mini", "google_genai:gemini-2.5-pro"]


def test_a_missing_key_is_a_provider_failure() -> None:
    """A named model without its key fails when it is first used, not at the start."""
    model = chat_models(settings(DTRAG_LLM="google_genai:gemini-2.5-flash"))[0]
    with pytest.raises(ProviderFailure, match="GEMINI_API_KEY is not set"):
        model.factory()


def test_a_missing_package_is_named() -> None:
    """The reader learns which package to install."""
    model = chat_models(settings(DTRAG_LLM="no_such_provider:x"))[0]
    with pytest.raises(ProviderFailure, match="no_such_provider:x cannot be set up"):
        model.factory()
    other = chat_models(settings(DTRAG_LLM="mistralai:x"))[0]
    with pytest.raises(ProviderFailure, match=r"'langchain-mistralai', which is not installed"):
        other.factory()
    legacy = chat_models(settings(DTRAG_LLM="gemini-legacy:gemini-2.5-flash", **KEY))[0]
    with pytest.raises(ProviderFailure, match=r"'google.generativeai', which is not installed"):
        legacy.factory()


async def test_a_reply_comes_in_pieces_with_its_tokens(gemini: FakeGemini) -> None:
    """The pieces join to the reply; tokens are counted once although each chunk repeats them."""
    heard = await said(gemini)
    assert len(heard) > 3
    assert "".join(piece.text for piece in heard) == REPLY
    assert sum(piece.input_tokens for piece in heard) == 100
    assert sum(piece.output_tokens for piece in heard) == 20
    assert not any(piece.truncated for piece in heard)


async def test_instructions_and_limits_reach_the_provider(gemini: FakeGemini) -> None:
    """System text travels apart from the question, with the limit of this call."""
    await said(gemini)
    call = gemini.calls[0]
    assert (call.system, call.user) == ("be brief", "how many?")
    assert call.body["generationConfig"]["maxOutputTokens"] == 55
    assert "gemini-2.5-flash:streamGenerateContent" in call.path


async def test_a_reply_at_its_limit_says_so(gemini: FakeGemini) -> None:
    """A reply that hit the token limit ends with a mark, because its last sentence is not whole."""
    gemini.mode = "max_tokens"
    assert (await said(gemini))[-1] == Piece(truncated=True)


@pytest.mark.parametrize(
    ("mode", "expected", "says"),
    [
        ("429", ProviderBusy, "limits our calls"),
        ("500", ProviderBusy, "HTTP 500"),
        ("503", ProviderBusy, "HTTP 503"),
        ("hang", ProviderBusy, "did not answer in time"),
        ("reset", ProviderBusy, "was lost"),
        ("401", ProviderFailure, "refused the key"),
        ("400_key", ProviderFailure, "refused the key"),
        ("too_long", PromptTooLong, "longer than"),
        ("badjson", BadReply, "not valid JSON"),
        ("empty", BadReply, "empty reply"),
        ("safety", BadReply, "blocked the reply"),
        ("prompt_blocked", BadReply, "blocked the reply"),
    ],
)
async def test_a_fault_becomes_one_of_ours(
    gemini: FakeGemini, mode: Mode, expected: type[DtRagError], says: str
) -> None:
    """Each fault arrives as a class of our tree, after exactly one call."""
    gemini.mode = mode
    with pytest.raises(expected, match=says):
        await said(gemini)
    assert len(gemini.calls) == 1


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("cut", ProviderBusy), ("clean_cut", BadReply), ("stall", ProviderBusy)],
)
async def test_a_cut_stream_fails_after_its_first_pieces(
    gemini: FakeGemini, mode: Mode, expected: type[DtRagError]
) -> None:
    """What came is handed on, and the end is an error even when the connection closes cleanly."""
    gemini.mode = mode
    model = named(gemini)
    chat = await asyncio.to_thread(model.factory)
    heard: list[Piece] = []
    with pytest.raises(expected):
        async for piece in pieces(chat, model.name, QUESTION, max_tokens=55):
            heard.append(piece)
    assert REPLY.startswith("".join(piece.text for piece in heard))
    assert heard


async def test_the_wished_pause_is_kept(gemini: FakeGemini) -> None:
    """RetryInfo of a 429 reaches the caller."""
    gemini.mode = "429"
    with pytest.raises(ProviderBusy) as caught:
        await said(gemini)
    assert caught.value.retry_after_s == 17


async def test_a_cancelled_task_ends_the_call(gemini: FakeGemini) -> None:
    """The provider's connection is closed when the task that listens is cancelled."""
    gemini.mode = "stall"
    heard = asyncio.Event()

    async def listen() -> None:
        model = named(gemini)
        async for _ in pieces(model.factory(), model.name, QUESTION, max_tokens=55):
            heard.set()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    async with asyncio.timeout(2):
        await gemini.left.wait()
    assert task.cancelled()


async def test_no_message_repeats_the_prompt(gemini: FakeGemini) -> None:
    """Our own words describe the failure; the vendor's may quote the question."""
    gemini.mode = "500"
    with pytest.raises(ProviderBusy) as caught:
        await said(gemini)
    assert "internal error" not in caught.value.detail
