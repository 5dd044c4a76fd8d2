"""A rerank server's scores, in either interface, and what it may not say."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from apps.core.domain.models import Hit
from apps.core.errors import BadReply, ProviderBusy, ProviderFailure
from apps.core.retrieval.rerank_server import BATCH, RerankServer, in_order
from tests.fakes.passages import SMALL, passage
from tests.fakes.rerank import FakeRerankServer, last_first

HITS = [Hit(each, 1.0) for each in SMALL[:3]]
QUESTION = "기준금리는 누가 결정하나요?"


class Hurried(random.Random):
    """Pauses of zero length."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


def asking(url: str, **more: str) -> RerankServer:
    """A reranker at `url` that does not wait before its second try."""
    return RerankServer(url, rng=Hurried(), **more)


@pytest.mark.parametrize(
    ("path", "model", "asked", "texts"),
    [
        ("", "", "/rerank", "texts"),
        ("/rerank", "", "/rerank", "texts"),
        ("/models/one/rerank", "", "/models/one/rerank", "texts"),
        ("/v1/rerank", "", "/v1/rerank", "documents"),
        ("/v2/rerank", "m", "/v2/rerank", "documents"),
        ("/rerank", "m", "/rerank", "documents"),
        ("", "m", "/v1/rerank", "documents"),
        ("?version=1", "", "/rerank?version=1", "texts"),
    ],
)
async def test_the_address_says_which_interface(
    path: str, model: str, asked: str, texts: str
) -> None:
    """A version or a model is Cohere's form; the order of the reply does not matter."""
    with FakeRerankServer() as server:
        found = await asking(server.url + path, model=model).rerank(QUESTION, HITS)
        (call,) = server.calls
    assert call.path == asked
    assert call.body.pop(texts) == [f"{p.title}\n{p.text}".strip() for p in SMALL[:3]]
    named = {"model": model} if model else {}
    options = {"truncate": True} if texts == "texts" else {"top_n": 3, **named}
    assert call.body == {"query": QUESTION, **options}
    assert int(np.argmax(found.scores)) == 1


async def test_many_passages_come_in_batches() -> None:
    """What a server takes by default is not exceeded, and the scores stay in order."""
    hits = [Hit(passage(f"d{n}", f"text {n}"), 1.0) for n in range(2 * BATCH + 1)]
    with FakeRerankServer(scores=last_first) as server:
        found = await asking(server.url).rerank("q", hits)
        assert [len(call.texts) for call in server.calls] == [BATCH, BATCH, 1]
    assert found.scores.tolist() == [*range(BATCH), *range(BATCH), 0]


async def test_a_long_passage_is_shortened() -> None:
    """Some servers refuse what is longer than their model reads."""
    with FakeRerankServer() as server:
        await asking(server.url).rerank("q", [Hit(passage("d", "가" * 9000), 1.0)])
        assert len(server.calls[0].texts[0]) == 4000


@pytest.mark.parametrize(
    "said",
    [
        None,
        3,
        {},
        {"results": None},
        [],
        [0.1, 0.2],
        [{"index": 0, "score": 0.1}],
        [{"index": 0, "score": 0.1}, {"index": 0, "score": 0.2}],
        [{"index": 0, "score": 0.1}, {"index": 2, "score": 0.2}],
        [{"index": 0, "score": 0.1}, {"index": -1, "score": 0.2}],
        [{"index": 0, "score": 0.1}, {"index": "1", "score": 0.2}],
        [{"index": 0, "score": 0.1}, {"index": True, "score": 0.2}],
        [{"index": 0, "score": 0.1}, {"index": 1.0, "score": 0.2}],
        [{"index": 0, "score": 0.1}, {"index": 1, "score": "0.2"}],
        [{"index": 0, "score": 0.1}, {"index": 1, "score": None}],
        [{"index": 0, "score": 0.1}, {"index": 1, "score": True}],
        [{"index": 0, "score": 0.1}, {"index": 1, "relevance_score": 0.2}],
        [{"index": n, "score": 0.1} for n in range(3)],
        [{"index": n, "score": 0.1} for n in (0, 1, 1)],
    ],
    ids=lambda said: json.dumps(said)[:40],
)
async def test_a_wrong_shape_is_a_bad_reply(said: object) -> None:
    """Nothing is guessed: each passage has one number, or there are no scores; asked once."""
    with FakeRerankServer(says=json.dumps(said).encode()) as server:
        with pytest.raises(BadReply):
            await asking(server.url).rerank("q", HITS[:2])
        assert len(server.calls) == 1


@pytest.mark.parametrize("said", [[], {"data": []}, {"results": {}}])
async def test_the_other_interface_is_as_strict(said: object) -> None:
    """Cohere's list stands under `results`."""
    with FakeRerankServer(says=json.dumps(said).encode()) as server, pytest.raises(BadReply):
        await asking(f"{server.url}/v1/rerank").rerank("q", HITS[:2])


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-Infinity"])
async def test_a_number_that_json_has_not_is_refused(score: str) -> None:
    """Servers written in Python send them."""
    said = f'[{{"index": 0, "score": {score}}}]'.encode()
    with FakeRerankServer(says=said) as server, pytest.raises(BadReply):
        await asking(server.url).rerank("q", HITS[:1])


def test_a_score_may_be_an_integer() -> None:
    """JSON has one kind of numbers."""
    assert in_order([{"index": 1, "score": 3}, {"index": 0, "score": -1.5}], "score", 2) == [
        -1.5,
        3,
    ]


@pytest.mark.parametrize("passing", ["500", "503", "cut"])
async def test_a_passing_failure_is_tried_again_once(passing: str) -> None:
    """The second reply counts."""
    with FakeRerankServer(then=[passing]) as server:
        assert (await asking(server.url).rerank(QUESTION, HITS)).scores.shape == (3,)
        assert len(server.calls) == 2
    with FakeRerankServer(mode=passing) as server, pytest.raises(ProviderBusy):
        await asking(server.url).rerank(QUESTION, HITS)


@pytest.mark.parametrize("lasting", ["401", "413", "429", "redirect"])
async def test_a_lasting_failure_is_not(lasting: str) -> None:
    """Nor one that asks us to wait."""
    with FakeRerankServer(mode=lasting) as server:
        with pytest.raises(ProviderFailure):
            await asking(server.url).rerank(QUESTION, HITS)
        assert len(server.calls) == 1


def test_two_models_of_a_server_have_two_names() -> None:
    """And a key is in none."""
    assert asking("http://h", model="a", key="secret").id == "http://h a"
    assert asking("http://h?key=secret").id == "http://h"
