"""`kill -9` while documents are read and while questions are answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.flows.service import Service, running

DOCUMENTS = 40
pytestmark = pytest.mark.slow


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path, env={"DTRAG_EMBEDDER": "none"}) as started:
        yield started


def text_of(number: int) -> str:
    return f"The lamp number {number} of the harbour is switched on at {number % 24} o'clock. " * 8


@pytest.mark.parametrize("pause_s", [0.05, 0.4, 1.0])
def test_documents_survive_a_kill(service: Service, pause_s: float) -> None:
    """After a kill at any moment every acknowledged document is there once, and the job ends."""
    files = [("files", (f"lamp{n}.txt", text_of(n).encode())) for n in range(DOCUMENTS)]
    with service.client() as client:
        accepted = client.post("/api/v1/documents", files=files)
        assert accepted.status_code == 202, accepted.text
    time.sleep(pause_s)
    service.kill()
    service.start()
    with service.client() as client:
        path = f"/api/v1/jobs/{accepted.json()['job_id']}"
        service.until(lambda: client.get(path).json()["state"] in ("done", "failed"))
        job = client.get(path).json()
        assert (job["state"], job["finished"]) == ("done", DOCUMENTS)
        assert client.get("/api/v1/documents").json()["total"] == DOCUMENTS
        service.until(lambda: found(client, 17) == DOCUMENTS)


def found(client: httpx.Client, number: int) -> int:
    """How many different documents a search finds; no passage may come twice."""
    body = {"q": f"lamp number {number} of the harbour", "final_topk": 50}
    hits = client.post("/api/v1/search", json=body).json()["hits"]
    assert len({hit["chunk_id"] for hit in hits}) == len(hits)
    return len({hit["doc_id"] for hit in hits})


def test_answers_and_opinions_survive_a_kill(service: Service) -> None:
    """Every acknowledged opinion is there after a kill, and a repeat does nothing twice."""
    with service.client() as client:
        text = {"id": "lamps", "title": "Lamps", "text": text_of(7)}
        client.post("/api/v1/documents?wait=true", json={"documents": [text]})
    acknowledged: dict[str, tuple[str, int]] = {}
    client = service.client()
    asking = threading.Thread(target=ask_on, args=(client, acknowledged))
    asking.start()
    time.sleep(2)
    service.kill()
    asking.join(30)
    service.start()
    assert len(acknowledged) > 5
    with service.client() as again:
        for key, (answer_id, rating) in acknowledged.items():
            record = again.get(f"/api/v1/answers/{answer_id}").json()
            assert [one["rating"] for one in record["feedback"]] == [rating]
            repeated = again.post("/answer", json=question(key), headers={"Idempotency-Key": key})
            assert repeated.json()["answer_id"] == answer_id


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Only the parent is killed; its workers go by themselves, and the port is free again."""
    env = {"DTRAG_EMBEDDER": "none", "WORKER_PROCESSES": "2"}
    with running(tmp_path, env=env) as service:
        service.process.kill()
        service.process.wait(10)
        service.gone()
        service.start()
        assert httpx.get(f"{service.url}/healthz").status_code == 200


def question(key: str) -> dict[str, object]:
    return {"question": f"When is the lamp number {key} switched on?"}


def ask_on(client: httpx.Client, acknowledged: dict[str, tuple[str, int]]) -> None:
    """Ask and rate until the service dies; notes what was acknowledged."""
    try:
        for number in range(10_000):
            key = f"k{number}"
            told = client.post("/answer", json=question(key), headers={"Idempotency-Key": key})
            answer_id, rating = told.json()["answer_id"], 1 + number % 5
            body = {"answer_id": answer_id, "rating": rating}
            if client.post("/api/v1/feedback", json=body).status_code == 202:
                acknowledged[key] = (answer_id, rating)
    except (httpx.HTTPError, KeyError):
        return
