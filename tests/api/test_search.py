"""Search over HTTP."""

from __future__ import annotations

import httpx
import pytest

from apps.api.schemas.search import SearchReply
from apps.core.errors import IndexNotReady
from tests.fakes.services import World


@pytest.mark.parametrize("path", ["/api/v1/search", "/api/v1/search/", "/search", "/search/"])
@pytest.mark.parametrize("k", [1, 3, 5])
async def test_exactly_k_hits_on_every_spelling(
    client: httpx.AsyncClient, path: str, k: int
) -> None:
    """k hits come back when k exist, without a redirect."""
    reply = await client.post(path, json={"q": "machine learning이란 무엇인가?", "final_topk": k})
    assert reply.status_code == 200
    assert len(reply.json()["hits"]) == k


async def test_the_reply_is_what_the_page_says(client: httpx.AsyncClient) -> None:
    """The bytes that are sent fit the documented model."""
    reply = await client.post("/api/v1/search", json={"q": "index"})
    SearchReply.model_validate_json(reply.content)
    assert reply.headers["x-dtrag-index"] == "20250101_0000"
    assert reply.headers["x-request-id"] == reply.json()["request_id"]
    assert "search;dur=" in reply.headers["server-timing"]


async def test_both_dialects(client: httpx.AsyncClient, world: World) -> None:
    """`query` and `max_results` mean `q` and `final_topk`."""
    await client.post("/search", json={"query": "index", "max_results": 2})
    assert (world.searcher.asked[-1].text, world.searcher.asked[-1].top_k) == ("index", 2)


async def test_two_names_for_one_field_are_refused(client: httpx.AsyncClient) -> None:
    """Nobody has to guess which of the two was meant."""
    reply = await client.post("/search", json={"q": "a", "query": "b"})
    assert (reply.status_code, reply.json()["code"]) == (422, "validation_error")


async def test_filters_arrive(client: httpx.AsyncClient, world: World) -> None:
    """Every filter reaches the searcher as the domain's word."""
    filters = {
        "doc_id": ["d"],
        "tags": ["t"],
        "canonical_in": [["ai", "rag"]],
        "language": "ko",
        "date_from": "2024-01-01",
        "date_to": "2024-12-31",
    }
    reply = await client.post("/search", json={"q": "x", "filters": filters})
    assert reply.status_code == 200
    got = world.searcher.asked[-1].filters
    assert (got.doc_ids, got.tags, got.canonical_in) == (("d",), ("t",), (("ai", "rag"),))
    assert (got.language, got.date_from, got.date_to) == ("ko", "2024-01-01", "2024-12-31")


async def test_an_index_version_is_for_administrators(client: httpx.AsyncClient) -> None:
    """Naming a version needs the scope `admin`."""
    reply = await client.post("/search", json={"q": "x", "index": "20250101_0000"})
    assert reply.status_code == 403


async def test_no_index_yet(client: httpx.AsyncClient, world: World) -> None:
    """Without an index the reply is 503 and says that it is worth trying again."""
    world.searcher.error = IndexNotReady("No index version is open yet.")
    reply = await client.post("/search", json={"q": "x"})
    assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")
    assert reply.json()["retryable"] is True


async def test_a_batch_equals_single_searches(client: httpx.AsyncClient) -> None:
    """Each entry has the hits of its own search."""
    questions = ["index", "딥러닝의 주요 개념은?", "fusion"]
    batch = await client.post("/api/v1/batch-search", json={"queries": questions, "final_topk": 2})
    for question, entry in zip(questions, batch.json()["results"], strict=True):
        single = await client.post("/search", json={"q": question, "final_topk": 2})
        assert entry["hits"] == single.json()["hits"]


async def test_a_faulty_question_of_a_batch_is_an_error_entry(client: httpx.AsyncClient) -> None:
    """The others are answered, nothing is invented for the faulty one."""
    body = {
        "queries": ["index", "", {"q": "x", "final_topk": 99}, {"query": "y", "max_results": 1}]
    }
    results = (await client.post("/api/v1/batch-search", json=body)).json()["results"]
    assert [("error" in entry) for entry in results] == [False, True, True, False]
    assert results[1]["error"]["code"] == "validation_error"
    assert len(results[3]["hits"]) == 1
