"""The whole way on PostgreSQL, with two workers: document, search, answer, opinion, deletion."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.flows.service import running

ROUNDS = 6  # so that both workers have been asked
DOCUMENT = {
    "id": "crane",
    "title": "두루미",
    "text": "두루미의 날개 길이는 240센티미터이다. 두루미는 겨울에 철원에서 지낸다.",
    "tags": ["새"],
}
WANTED = {"q": "두루미 날개", "filters": {"tags": ["새"]}}


@pytest.mark.slow
def test_the_whole_way_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    """What one worker accepted, every worker finds, answers from, stores, and forgets again."""
    env = {
        "DATABASE_URL": postgres_url,
        "WORKER_PROCESSES": "2",
        "DTRAG_EMBEDDER": "none",
    }
    with running(tmp_path, command="quickstart", env=env) as service, service.client() as client:
        body = {"documents": [DOCUMENT]}
        assert client.post("/api/v1/documents?wait=true", json=body).status_code == 201
        until_all_find(client, ["crane"])
        for number in range(ROUNDS):
            asked = {"question": f"두루미의 날개 길이는 얼마인가요{'?' * number}"}
            answer = client.post("/answer", json=asked).json()
            assert "240센티미터" in answer["answer"], answer
            opinion = {"answer_id": answer["answer_id"], "rating": 5}
            assert client.post("/api/v1/feedback", json=opinion).status_code == 202
            stored = client.get(f"/api/v1/answers/{answer['answer_id']}").json()
            assert [each["rating"] for each in stored["feedback"]] == [5]
        assert client.delete("/api/v1/documents/crane").status_code == 200
        until_all_find(client, [])
        assert service.stop() == 0


def until_all_find(client: httpx.Client, wanted: list[str]) -> None:
    """Several searches in a row, on fresh connections, find exactly this."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = [documents(client) for _ in range(ROUNDS)]
        if found == [wanted] * ROUNDS:
            return
    raise AssertionError(found)


def documents(client: httpx.Client) -> list[str]:
    """The documents of one search."""
    reply = client.post("/api/v1/search", json=WANTED, headers={"Connection": "close"})
    return [hit["doc_id"] for hit in reply.json()["hits"]]
