"""Planted personal data reaches no prompt, log, metric, trace, cache, index or database."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from tests.fakes.collector import Collector, collecting
from tests.fakes.gemini import Call, FakeGemini
from tests.flows.service import Service, running

PLANTED = ("010-7391-4826", "870315-1928374", "352-0917-482915", "hong.gildong@mail-test.example")
DOCUMENT = (
    "오로라 보일러 담당자는 홍길동이며 전화는 010-7391-4826이고 메일은 "
    "hong.gildong@mail-test.example입니다. 주민번호는 870315-1928374이다. "
    "환불 계좌는 352-0917-482915로 등록되어 있다. 오로라 보일러의 점검 주기는 6개월이다."
)
FIELDS = {
    "tags": [PLANTED[0]],
    "category": [PLANTED[3]],
    "version": PLANTED[1],
    "license": PLANTED[2],
    "source_url": f"https://example.org/?by={PLANTED[3]}",
}
QUESTION = f"{', '.join(PLANTED)}로 등록된 오로라 보일러의 점검 주기는?"
SPANS = {"http.request", "search", "node.compose", "model.call", "ingest.document"}
# An upload waits unmasked in the queue until it is read; SQLite's journal keeps the page until the
# next checkpoint, at the latest when the service stops, and the test looks again after that.
NOT_YET = "var/dtrag.db-wal"


def supported(call: Call) -> str:
    """Answer as an obedient model would, and repeat whatever the prompt held."""
    return f"오로라 보일러의 점검 주기는 6개월이다. [1] {call.user[-200:]}"


def traces(service: Service, fake: FakeGemini) -> dict[str, bytes]:
    """Every place where a word could have been left."""
    left = {}
    for path in (service.home / "var").rglob("*"):
        # The running service sweeps old index versions meanwhile.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            left[str(path.relative_to(service.home))] = path.read_bytes()
    left["log"] = service.log.read_bytes()
    left["prompts"] = "\n".join(call.system + call.user for call in fake.calls).encode()
    left["metrics"] = httpx.get(
        f"{service.url}/metrics", headers={"X-API-Key": service.key}
    ).content
    return left


def used(service: Service) -> bytes:
    """Upload, ask plainly and as a stream, give feedback; returns all that came back."""
    with service.client() as client:
        document = {"id": "aurora", "title": "오로라", "text": DOCUMENT, **FIELDS}
        mine = {"Idempotency-Key": PLANTED[3]}
        body = {"documents": [document]}
        uploaded = client.post("/api/v1/documents?wait=true", json=body, headers=mine)
        assert uploaded.status_code == 201, uploaded.text
        asked = {"question": QUESTION, "user_id": PLANTED[3], "session_id": PLANTED[0]}
        plain = client.post("/answer", json=asked, headers={"tracestate": f"a={PLANTED[0]}"})
        assert plain.status_code == 200, plain.text
        stream = client.post("/answer", json={"question": QUESTION, "stream": True})
        run = client.post("/answer?wait=false", json={**asked, "question": f"{QUESTION}?"})
        assert run.status_code == 202, run.text
        run = client.get(f"{run.headers['location']}/events")
        assert "event: complete" in run.text, run.text
        found = client.post("/api/v1/search", json={"q": QUESTION, "highlight": True})
        client.post(f"/api/v1/search?q={PLANTED[0]}", json={"q": QUESTION, "mode": PLANTED[1]})
        client.get(f"/api/v1/documents/{PLANTED[2]}")
        opinion = {"answer_id": plain.json()["answer_id"], "rating": 5, "comment": DOCUMENT}
        assert client.post("/api/v1/feedback", json=opinion).status_code == 202
        return plain.content + stream.content + run.content + found.content


@pytest.mark.slow
async def test_personal_data_is_left_nowhere(tmp_path: Path) -> None:
    """Four planted values are in no file, log line, prompt, metric, span or answer."""
    async with FakeGemini(reply=supported) as fake:
        with collecting() as (collector, address):
            env = {
                "GEMINI_API_KEY": "test-key",
                "GEMINI_BASE_URL": fake.url,
                "LOG_LEVEL": "DEBUG",
                "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            }
            await asyncio.to_thread(check, tmp_path, env, fake, collector)


def check(home: Path, env: dict[str, str], fake: FakeGemini, collector: Collector) -> None:
    """Use a running service, stop it, and search everything it has left behind."""
    with running(home, env=env) as service:
        said = used(service)
        left = traces(service, fake)
        assert service.stop() == 0
        left.update(traces_on_disk(service))
    left["spans"] = b"".join(collector.bodies)
    assert set(collector.names) >= SPANS
    assert fake.calls, "the model was never asked"
    assert b"010-7391-4826" in DOCUMENT.encode()
    for value in PLANTED:
        assert value.encode() not in said
        assert not [place for place in left if place != NOT_YET and value.encode() in left[place]]


def traces_on_disk(service: Service) -> dict[str, bytes]:
    """The files once more, after the last buffers were written."""
    files = [path for path in service.home.rglob("*") if path.is_file()]
    return {f"after {path.name}": path.read_bytes() for path in files}
