"""The real server in a process of its own: from an empty directory to a cited answer and back.

One start for all stories; they share the server but no document, key or question.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse
from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 90.0
# Document 002 as it stands; only host and key are filled in.
CURL_LINES = (
    """curl -X POST http://localhost:8000/api/v1/search/ \\
      -H "Content-Type: application/json" \\
      -H "X-API-Key: your_api_key" \\
      -d '{
        "q": "machine learning이란 무엇인가?",
        "final_topk": 5
      }'""",
    """curl -X POST http://localhost:8000/answer \\
      -H "Content-Type: application/json" \\
      -H "X-API-Key: your_api_key" \\
      -d '{
        "question": "딥러닝의 주요 개념은?",
        "mode": "answer"
      }'""",
    "curl http://localhost:8000/health",
    """curl -X POST http://localhost:8000/api/v1/search/ \\
      -H "Content-Type: application/json" \\
      -d '{"q":"test","final_topk":3}'""",
    """curl -X POST http://localhost:8000/api/v1/search/ \\
      -H "Content-Type: application/json" \\
      -d '{"q":"artificial intelligence","final_topk":5}'""",
)
LAMP = "The green lamp of the Aurora boiler means that the tank is full."
KOREAN = "오로라 보일러의 보증 기간은 구매일부터 3년이다. 필터는 6개월마다 교체해야 한다."


@dataclass(frozen=True)
class Server:
    """Where the server is, and the key that it printed."""

    base: str
    admin: str
    process: subprocess.Popen[bytes]

    def client(self, key: str | None = None) -> httpx.Client:
        """A client with a key, or without one."""
        headers = {"X-API-Key": key} if key else {}
        return httpx.Client(base_url=self.base, headers=headers, timeout=60)


@contextlib.contextmanager
def running(home: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """A server over `home`, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home / "server.log"
    command = [sys.executable, "-m", "uvicorn", "apps.api.main:app", "--port", str(port)]
    known = {"PATH": os.environ["PATH"], "DTRAG_HOME": str(home), "ENVIRONMENT": "development"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--no-access-log", "--log-level", "warning", *arguments],
            cwd=ROOT,
            env={**known, **environment},
            stdout=out,
            stderr=out,
        )
    base = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(base, process, log)
        keys = re.findall(rb"dtr_[0-9a-z]{8}_[\w-]+", log.read_bytes())
        assert len(keys) <= 1
        yield Server(base, keys[0].decode() if keys else "", process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_until_ready(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when searches and answers can be served."""
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            reply = httpx.get(f"{base}/readyz")
            if reply.status_code == 200 and reply.json()["answer"]:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for this file."""
    with running(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("line", CURL_LINES)
def test_the_curl_lines_of_document_002(server: Server, line: str) -> None:
    """Each works as it is written."""
    line = line.replace("http://localhost:8000", server.base)
    words = shlex.split(line.replace("your_api_key", server.admin).replace("\\\n", " "))
    reply = subprocess.run(
        [*words, "--silent", "--max-time", "30", "--write-out", "\n%{http_code}"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    body, status = reply.rsplit("\n", 1)
    assert status == "200", reply
    assert json.loads(body)


@pytest.mark.slow
def test_a_question_over_a_socket(server: Server) -> None:
    """A program on this machine needs no key; the events are those of a stream."""
    with connect(f"{server.base.replace('http', 'ws')}/ws/answer") as socket:
        socket.send(json.dumps({"question": "What does the yellow lamp mean?"}))
        events = []
        while not events or events[-1]["event"] not in ("complete", "error"):
            events.append(json.loads(socket.recv(30)))
    assert events[-1]["event"] == "complete"
    assert events[-1]["data"]["abstained"] is True


@pytest.mark.slow
def test_from_a_file_to_a_cited_answer_and_back(server: Server) -> None:
    """Uploaded, found, cited exactly, judged, read again, deleted, not found any more."""
    with server.client(server.admin) as client:
        files = {"files": ("aurora.txt", LAMP.encode())}
        added = client.post("/api/v1/documents?wait=true", files=files)
        assert added.status_code == 201, added.text
        (doc_id,) = added.json()["items"][0]["doc_ids"]
        question = {"question": "What does the green lamp of the Aurora boiler mean?"}
        answer = client.post("/answer", json=question).json()
        assert answer["abstained"] is False
        assert "[1]" in answer["answer"]
        for citation in answer["citations"]:
            start, end = citation["span"]
            place = f"/api/v1/documents/{citation['doc_id']}/spans?start={start}&end={end}"
            assert client.get(place).json()["text"] == citation["quote"]
        opinion = {"answer_id": answer["answer_id"], "rating": 5, "comment": "전화 010-1234-5678"}
        assert client.post("/api/v1/feedback", json=opinion).status_code == 202
        stored = client.get(f"/api/v1/answers/{answer['answer_id']}")
        assert stored.json()["answer"] == answer["answer"]
        assert stored.json()["feedback"][0]["rating"] == 5
        assert "1234-5678" not in stored.text
        assert client.delete(f"/api/v1/documents/{doc_id}").json()["deleted"] is True
        found = client.post("/search", json={"q": "Aurora lamp"}).json()["hits"]
        assert doc_id not in {hit["doc_id"] for hit in found}
        assert client.post("/answer", json=question).json()["abstained"] is True


@pytest.mark.slow
def test_a_stream_says_what_the_answer_says(server: Server) -> None:
    """Joined data equals the answer; Korean in, Korean out; the same as without a stream."""
    with server.client(server.admin) as client:
        text = {"documents": [{"id": "aurora-ko", "title": "오로라", "text": KOREAN}]}
        assert client.post("/api/v1/documents?wait=true", json=text).status_code == 201
        question = {"question": "오로라 보일러의 보증 기간은 얼마인가?"}
        body = {**question, "stream": True}
        with connect_sse(client, "POST", "/answer", json=body) as source:
            events = [(each.event, json.loads(each.data)) for each in source.iter_sse()]
        names = [name for name, _ in events]
        assert (names[0], names[-1]) == ("metadata", "complete")
        assert names.count("complete") == 1
        record = events[-1][1]
        assert "".join(part["text"] for name, part in events if name == "data") == record["answer"]
        assert (record["language"], "3년" in record["answer"]) == ("ko", True)
        assert client.post("/answer", json=question).json()["answer"] == record["answer"]


@pytest.mark.slow
def test_a_key_from_making_to_revoking(server: Server) -> None:
    """It opens its scope alone, is counted, and opens nothing after it was revoked."""
    with server.client(server.admin) as admin:
        wish = {"name": "reader", "scopes": ["search"], "rate_limit": 3}
        made = admin.post("/api/v1/admin/api-keys/", json=wish).json()
        with server.client(made["api_key"]) as reader:
            statuses = [reader.post("/search", json={"q": "x"}).status_code for _ in range(4)]
            assert statuses == [200, 200, 200, 429]
            assert reader.get("/api/v1/admin/api-keys/").status_code == 429
        place = f"/api/v1/admin/api-keys/{made['id']}"
        assert admin.put(place, json={**wish, "rate_limit": None}).status_code == 200
        with server.client(made["api_key"]) as reader:
            assert reader.get("/api/v1/admin/api-keys/").status_code == 403
            assert admin.delete(place).status_code == 200
            assert reader.post("/search", json={"q": "x"}).status_code == 401
        assert made["api_key"] not in admin.get("/api/v1/admin/api-keys/").text


@pytest.mark.slow
def test_one_result_for_one_idempotency_key(server: Server) -> None:
    """The same answer id comes back, from the database."""
    with server.client() as client:
        headers = {"Idempotency-Key": "story-1"}
        question = {"question": "Is there anything at all?"}
        replies = [client.post("/answer", json=question, headers=headers) for _ in range(2)]
        assert replies[0].json()["answer_id"] == replies[1].json()["answer_id"]
        other = client.post("/answer", json={"question": "Other?"}, headers=headers)
        assert other.status_code == 409


@pytest.mark.slow
def test_a_cleared_cache_computes_again(server: Server) -> None:
    """A repeated search is marked; after a clear it is not."""
    with server.client(server.admin) as client:
        cached = [client.post("/search", json={"q": "clear me"}).json()["cached"] for _ in range(2)]
        assert cached == [False, True]
        assert client.post("/admin/cache/clear").status_code == 200
        assert client.post("/search", json={"q": "clear me"}).json()["cached"] is False


@pytest.mark.slow
def test_several_workers_are_one_service(tmp_path: Path) -> None:
    """One key is printed between them, and one that is revoked is refused by each at once."""
    with running(tmp_path, "--workers", "2") as server:
        assert server.admin
        for _ in range(5):
            with server.client(server.admin) as admin:
                made = admin.post("/api/v1/admin/api-keys", json={"name": "n"}).json()
            statuses = {_search_anew(server, made["api_key"]) for _ in range(10)}
            assert statuses == {200}
            with server.client(server.admin) as admin:
                admin.delete(f"/api/v1/admin/api-keys/{made['id']}")
            assert {_search_anew(server, made["api_key"]) for _ in range(10)} == {401}


def _search_anew(server: Server, key: str) -> int:
    # A new connection each time, so that either worker may get it.
    reply = httpx.post(
        f"{server.base}/search", json={"q": "x"}, headers={"X-API-Key": key}, timeout=60
    )
    return reply.status_code


@pytest.mark.slow
def test_stopping_is_calm(tmp_path: Path) -> None:
    """SIGTERM ends the server without a traceback, and what was said is kept."""
    with running(tmp_path) as server, server.client(server.admin) as client:
        answer_id = client.post("/answer", json={"question": "Anything?"}).json()["answer_id"]
        admin = server.admin
    assert "Traceback" not in (tmp_path / "server.log").read_text()
    with running(tmp_path) as server, server.client(admin) as client:
        assert server.admin == ""
        assert client.get(f"/api/v1/answers/{answer_id}").status_code == 200


@pytest.mark.slow
def test_a_setting_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    """One sentence names the variable; there is no traceback of ours."""
    environment = {"PATH": os.environ["PATH"], "DTRAG_HOME": str(tmp_path), "CACHE_TTL": "soon"}
    ended = subprocess.run(
        [sys.executable, "-m", "uvicorn", "apps.api.main:app", "--port", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert ended.stderr.strip().startswith("CACHE_TTL:")
    assert "Traceback" not in ended.stderr
