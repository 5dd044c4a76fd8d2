"""Stand-ins for what a pipeline is given: index, cache, and chat models that follow a script."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from apps.core.domain.flags import FlagDecision
from apps.core.domain.models import (
    AnswerRecord,
    AnswerRequest,
    Hit,
    Language,
    Passage,
    SearchQuery,
    SearchResult,
    SearchSignals,
    Source,
    Usage,
)
from apps.core.domain.ports import FlagDecider
from apps.core.errors import DtRagError, StorageDown
from apps.core.llm.models import NamedModel, chat_models
from apps.core.settings import load
from apps.orchestration.exposures import Arms, Nobody
from apps.orchestration.models import ModelChain
from apps.orchestration.node import Node, nothing_killed
from apps.orchestration.nodes import PIPELINE
from apps.orchestration.pipeline import AnswerPipeline
from tests.fakes.clock import FakeClock
from tests.fakes.gemini import FakeGemini

CLEAR = SearchSignals(14.0, 13.0, 1.0, dense_top=0.9, agreement=1.0)
NOTHING = SearchSignals(lexical_top=0.5, coverage=0.05)


def hit(
    name: str, text: str, *, title: str = "", language: Language = "ko", score: float = 0.9
) -> Hit:
    """A found passage that begins at offset 100 of its document."""
    passage = Passage(
        f"{name}:0",
        name,
        title or name,
        text,
        100,
        100 + len(text),
        language,
        source=Source(title=title or name),
    )
    return Hit(passage, score)


SEOUL = hit("seoul", "서울의 인구는 2023년 기준 940만 명이다. 서울은 대한민국의 수도이다.")
BUSAN = hit("busan", "부산의 인구는 330만 명이다. 부산은 바다를 낀 항구 도시이다.", score=0.5)
BRIDGE = hit(
    "bridge",
    "The old river bridge was opened in 1917. It is 841 metres long and made of steel.",
    language="en",
)


class FakeIndex:
    """Finds the same passages whatever is asked."""

    def __init__(
        self, hits: Sequence[Hit] = (SEOUL, BUSAN), signals: SearchSignals = CLEAR
    ) -> None:
        self.hits = tuple(hits)
        self.signals = signals if hits else NOTHING
        self.version: str | None = "20251121_0300"
        self.asked: list[SearchQuery] = []
        self.failure: Exception | None = None
        self.spent = Usage()

    async def search(self, query: SearchQuery) -> SearchResult:
        self.asked.append(query)
        if self.failure:
            raise self.failure
        return SearchResult(
            self.hits,
            len(self.hits),
            "lexical",
            self.version or "",
            "ko",
            signals=self.signals,
            usage=self.spent,
        )


class FakeMemory:
    """A cache that forgets nothing; `lives` says how long each key was to be kept."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.lives: dict[str, float | None] = {}

    async def get(self, key: str, kind: type[Any]) -> Any:
        found = self.kept.get(key)
        assert found is None or isinstance(found, kind)
        return found

    async def put(self, key: str, value: object, *, ttl_s: float | None = None) -> None:
        self.kept[key] = value
        self.lives[key] = ttl_s


class FixedFlags:
    """The given flags are on."""

    def __init__(self, *on: str) -> None:
        self._decisions = {key: FlagDecision(True, "STATIC", "ENV") for key in on}

    def evaluate_all(self, request: AnswerRequest | None) -> dict[str, FlagDecision]:
        return self._decisions


class Recorder:
    """Keeps records, or refuses them."""

    def __init__(self) -> None:
        self.records: list[AnswerRecord] = []
        self.down = False

    async def __call__(self, record: AnswerRecord) -> None:
        if self.down:
            raise StorageDown("gone")
        self.records.append(record)


class Unhurried(random.Random):
    """Pauses of zero length."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


class Scripted(BaseChatModel):
    """Says its lines piece by piece; an exception among them is raised at its place."""

    lines: list[Any]
    heard: list[list[tuple[str, str]]]
    ends: str = "stop"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.heard.append([(m.type, str(m.text)) for m in messages])
        for line in self.lines:
            if isinstance(line, Exception):
                raise line
            yield ChatGenerationChunk(message=AIMessageChunk(line))
        last = AIMessageChunk("", response_metadata={"finish_reason": self.ends})
        last.usage_metadata = {"input_tokens": 50, "output_tokens": 10, "total_tokens": 60}
        yield ChatGenerationChunk(message=last)


def scripted(*lines: str | Exception, name: str = "fake:one", ends: str = "stop") -> NamedModel:
    """A configured model with a script; a text is said in pieces of five characters."""
    pieces: list[Any] = []
    for line in lines:
        if isinstance(line, Exception):
            pieces.append(line)
        else:
            pieces += [line[i : i + 5] for i in range(0, len(line), 5)]
    model = Scripted(lines=pieces, heard=[], ends=ends)
    return NamedModel(name, lambda: model)


def gemini_model(server: FakeGemini, *, model: str = "gemini-2.5-flash") -> NamedModel:
    """The real Gemini client, pointed at a loopback server."""
    given = {"GEMINI_API_KEY": "test-key", "GEMINI_BASE_URL": server.url}
    listed = {"DTRAG_LLM": f"google_genai:{model}", "DTRAG_HOME": "no-such-directory"}
    return chat_models(load({**given, **listed}))[0]


def heard(model: NamedModel) -> list[list[tuple[str, str]]]:
    """What a scripted model was told, call by call."""
    chat = model.factory()
    assert isinstance(chat, Scripted)
    return chat.heard


class Stage:
    """A pipeline on stand-ins, with everything at hand that a test may look at."""

    def __init__(
        self,
        *models: NamedModel,
        index: FakeIndex | None = None,
        flags: FlagDecider | None = None,
        nodes: tuple[Node, ...] = PIPELINE,
        memory: FakeMemory | None = None,
        clock: FakeClock | None = None,
        arms: Arms | None = None,
        killed: Callable[[str], bool] = nothing_killed,
        **settings: str,
    ) -> None:
        self.clock = clock or FakeClock()
        self.index = index or FakeIndex()
        self.memory = memory or FakeMemory()
        self.recorder = Recorder()
        self.chain = ModelChain(models, self.clock)
        self.pipeline = AnswerPipeline(
            self.index,
            self.chain,
            flags=flags or FixedFlags(),
            cache=self.memory,
            settings=load({"DTRAG_HOME": "no-such-directory", **settings}),
            clock=self.clock,
            rng=Unhurried(7),
            record=self.recorder,
            nodes=nodes,
            arms=arms or Nobody(),
            killed=killed,
        )

    async def told(self, request: AnswerRequest | str, *, streaming: bool = True) -> list[Any]:
        """All events of a run."""
        asked = AnswerRequest(request) if isinstance(request, str) else request
        return [e async for e in self.pipeline.stream(asked, streaming=streaming)]

    async def answer(self, request: AnswerRequest | str) -> AnswerRecord:
        """The record of a plain run."""
        asked = AnswerRequest(request) if isinstance(request, str) else request
        return await self.pipeline.answer(asked)

    async def failure(self, request: AnswerRequest | str) -> DtRagError:
        """The error of a plain run that must fail."""
        try:
            await self.answer(request)
        except DtRagError as error:
            return error
        raise AssertionError("the run did not fail")
