"""Flags of words that choose the wording and the model of an answer, and what a wrong word does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from apps.core.domain.flags import FlagDecision, FlagValue
from apps.core.domain.models import AnswerMode, AnswerRecord, AnswerRequest
from apps.core.errors import ProviderBusy
from apps.core.flags.evaluation import Evaluation
from apps.orchestration.choosing import ANSWER_PROMPT, CHAT_MODEL
from apps.orchestration.prompts import fingerprint
from tests.fakes.answering import FakeMemory, Stage, heard, scripted
from tests.fakes.flags import FakeFlagStore, variants
from tests.orchestration.test_exposures import Scene

QUESTION = "서울의 인구는 몇 명인가?"
TRUE = "서울의 인구는 940만 명이다 [1]."
ONE, TWO = "fake:one", "fake:two"
MODELS = {"first": ONE, "second": TWO}
WORDS = {"plain": "answer", "brief": "answer_brief"}


def told(**values: FlagValue | None) -> Evaluation:
    """Flags that stand for these values."""
    return Evaluation(
        1,
        {
            key: FlagDecision(value is True, "STATIC", "SQL_DEFAULT", variant="v", value=value)
            for key, value in values.items()
        },
    )


def asking(decisions: Mapping[str, FlagDecision], mode: AnswerMode = "answer") -> AnswerRequest:
    """A question that these flags decide."""
    return AnswerRequest(QUESTION, mode=mode, decisions=decisions)


def two() -> Stage:
    """A service with two models that know the answer."""
    return Stage(scripted(TRUE), scripted(TRUE, name=TWO))


async def test_a_word_chooses_the_prompt() -> None:
    """The model reads the other text, and the record names it by its fingerprint."""
    texts, prints = [], []
    for word in WORDS.values():
        model = scripted(TRUE)
        record = await Stage(model).answer(asking(told(answer_prompt=word)))
        assert (record.served_by, record.degraded) == ("primary", ())
        prints.append(record.trace["prompt"])
        texts.append(heard(model)[0][0])
    assert prints == [fingerprint(f"compose.{word}", "ko") for word in WORDS.values()]
    assert texts[0] != texts[1]


async def test_a_word_chooses_the_first_model() -> None:
    """The named one is asked first and is the request's primary; the other stands in for it."""
    record = await two().answer(asking(told(chat_model=TWO)))
    assert (record.model, record.served_by, record.degraded) == (TWO, "primary", ())
    lame = scripted(ProviderBusy("down", retry_after_s=1.0), name=TWO)
    record = await Stage(scripted(TRUE), lame).answer(asking(told(chat_model=TWO)))
    assert (record.model, record.served_by) == (ONE, "secondary")
    assert record.degraded == ("primary:rate_limit_exceeded",)


@pytest.mark.parametrize("value", ["summary", "answer_x", "", "../answer", 3, True, {"a": 1}])
async def test_a_wrong_value_is_told_and_not_followed(value: FlagValue) -> None:
    """The answer is the ordinary one, and says which flag had no effect."""
    plain = await two().answer(QUESTION)
    for key in (ANSWER_PROMPT, CHAT_MODEL):
        record = await two().answer(asking(told(**{key: value})))
        assert record.degraded == (key,)
        assert record.trace == plain.trace
        assert (record.answer, record.model) == (plain.answer, ONE)


@pytest.mark.parametrize("value", [7, -0.1, "0.5", True])
async def test_a_wrong_weight_is_told_and_not_followed(value: FlagValue) -> None:
    """As with words: the search's own weight counts, and the flag is named."""
    stage = two()
    record = await stage.answer(asking(told(hybrid_search=True, dense_weight=value)))
    assert (record.degraded, stage.index.asked[-1].dense_weight) == (("dense_weight",), None)


@pytest.mark.parametrize("value", [None, False])
async def test_no_value_is_no_wish(value: FlagValue | None) -> None:
    """A flag that is off or killed leaves the answer as it is without the flag."""
    plain = await two().answer(QUESTION)
    record = await two().answer(asking(told(answer_prompt=value, chat_model=value)))
    assert replace(record, decisions={}) == replace(plain, decisions={})


@pytest.mark.parametrize("mode", ["summary", "keypoints"])
async def test_other_modes_have_one_wording(mode: AnswerMode) -> None:
    """The flag has no say there, and its arms are not met."""
    scene = Scene(variants(ANSWER_PROMPT, WORDS), models=[scripted(TRUE)])
    record = await scene.answer(AnswerRequest(QUESTION, mode=mode, user_id="u"))
    assert record.trace["prompt"] == fingerprint(f"compose.{mode}", "ko")
    assert (record.exposed, record.degraded) == ((), ())


async def answers(key: str, values: Mapping[str, FlagValue]) -> list[tuple[str, AnswerRecord]]:
    """An experiment over twelve users, each with a question of their own, asked once."""
    scene = Scene(variants(key, values), models=[scripted(TRUE), scripted(TRUE, name=TWO)])
    found = []
    for number in range(12):
        asked = AnswerRequest(f"{number}: {QUESTION}", user_id=f"u{number}", request_id="r")
        record = await scene.answer(asked)
        (met,) = record.exposed
        assert (met.flag_key, met.node) == (key, "compose")
        found.append((met.arm, record))
    return found


async def test_an_experiment_compares_prompts_and_models() -> None:
    """Each arm is met where its value takes effect, and gets its own wording or model."""
    by_word = {(arm, record.trace["prompt"]) for arm, record in await answers(ANSWER_PROMPT, WORDS)}
    assert by_word == {(arm, fingerprint(f"compose.{word}", "ko")) for arm, word in WORDS.items()}
    by_model = {(arm, record.model) for arm, record in await answers(CHAT_MODEL, MODELS)}
    assert by_model == set(MODELS.items())


async def test_variants_share_no_cached_answer() -> None:
    """Neither from the cache, nor from the memory that stands in for a failing model."""
    memory, failing = FakeMemory(), scripted(ProviderBusy("down", retry_after_s=1.0))
    for key, values in ((ANSWER_PROMPT, WORDS), (CHAT_MODEL, MODELS)):
        one, other = (asking(told(**{key: value})) for value in values.values())
        stage = Stage(scripted(TRUE), scripted(TRUE, name=TWO), memory=memory)
        assert (await stage.answer(one)).served_by == "primary"
        assert (await stage.answer(one)).served_by == "cache"
        assert (await stage.answer(other)).served_by == "primary"
        third = asking(told(**{key: "another"}))
        assert (await Stage(failing, memory=memory).answer(third)).served_by == "extractive"


async def test_a_kill_holds_while_an_answer_is_being_written() -> None:
    """The ordinary prompt is used, the flag is named, and nobody is counted in an arm."""
    flags: FakeFlagStore = variants(ANSWER_PROMPT, {"brief": "answer_brief"})
    scene = Scene(flags, models=[scripted(TRUE)])
    asked = AnswerRequest(QUESTION, user_id="u", request_id="r")
    asked = replace(asked, decisions=flags.evaluate_all(asked))
    flags.snapshot = flags.snapshot.changed(local_kill=frozenset({ANSWER_PROMPT}))
    record = await scene.answer(asked)
    assert record.degraded == (ANSWER_PROMPT,)
    assert record.trace["prompt"] == fingerprint("compose.answer", "ko")
    assert record.exposed == ()


@pytest.mark.parametrize(
    ("key", "values"),
    [("hybrid_search", {"on": True}), ("reranker", {"on": True}), ("dense_weight", {"w": 0.9})],
)
async def test_a_kill_holds_before_the_search(key: str, values: Mapping[str, FlagValue]) -> None:
    """A search that has not begun goes the baseline's way, and nobody is counted in an arm."""
    flags = variants(key, values)
    scene = Scene(flags)
    asked = AnswerRequest(QUESTION, user_id="u", request_id="r")
    asked = replace(asked, decisions=flags.evaluate_all(asked))
    flags.snapshot = flags.snapshot.changed(local_kill=frozenset({key}))
    record = await scene.answer(asked)
    query = scene.index.asked[-1]
    assert (query.mode, query.rerank, query.dense_weight) == ("lexical", False, None)
    assert record.degraded == (key,)
    assert record.exposed == ()
