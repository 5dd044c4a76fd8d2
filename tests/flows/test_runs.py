"""Runs that go on without their caller, over two workers, a slow model and `kill -9`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse

from tests.fakes.gemini import Call, FakeGemini
from tests.flows.service import Service, running

SENTENCES = (
    "The harbour lamp of Hallim is lit at seven in the evening.",
    "The harbour lamp of Hallim was built in the year 1931.",
    "The harbour lamp of Hallim is painted red and white.",
    "The harbour lamp of Hallim stands 24 metres above the water.",
)
DOCUMENT = {"id": "lamp", "title": "The harbour lamp of Hallim", "text": " ".join(SENTENCES)}
QUESTION = {"question": "What is known of the harbour lamp of Hallim?"}
LIMIT_S = 60.0
CURL = """
RUN=$(curl -s -D head.txt -X POST "$URL/answer?wait=false" -H "X-API-Key: $KEY" \\
  -H 'Content-Type: application/json' -d '{"question": "When is the lamp of Hallim lit?"}' \\
  | sed 's/.*"run_id":"\\([^"]*\\)".*/\\1/')
grep -i "^location: /api/v1/runs/$RUN" head.txt > /dev/null
grep -i "^x-request-id: " head.txt > /dev/null
curl -sN "$URL/api/v1/runs/$RUN/events" -H "X-API-Key: $KEY" | grep "^event: " | tr -d '\\n'; echo
curl -s "$URL/api/v1/runs/$RUN/" -H "X-API-Key: $KEY"; echo
curl -s -X DELETE "$URL/api/v1/runs/$RUN" -H "X-API-Key: $KEY"; echo
curl -s "$URL/api/v1/answers/$RUN" -H "X-API-Key: $KEY"; echo
"""

Story = Callable[[Service, httpx.Client, FakeGemini], None]
pytestmark = pytest.mark.slow


def cited(_call: Call) -> str:
    """A long answer of which every sentence holds."""
    return " ".join(f"{sentence} [1]" for sentence in SENTENCES)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.pg)])
def database(request: pytest.FixtureRequest) -> str:
    """What DATABASE_URL says; SQLite in the service's home when empty."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def with_workers(home: Path, database: str, story: Story, *, workers: int = 2) -> None:
    """Tell a story in a thread, beside a model that takes its time."""
    async with FakeGemini(reply=cited, mode="slow", pause_s=0.05) as fake:
        env = {
            "GEMINI_API_KEY": "test-key",
            "GEMINI_BASE_URL": fake.url,
            "WORKER_PROCESSES": str(workers),
            "DATABASE_URL": database,
            "DTRAG_EMBEDDER": "none",
            # Each question is answered anew.
            "CACHE_TTL": "0",
        }

        def tell() -> None:
            with running(home, env=env) as service, service.client() as client:
                added = client.post("/api/v1/documents?wait=true", json={"documents": [DOCUMENT]})
                assert added.status_code == 201, added.text
                service.until(lambda: finds(client))
                story(service, client, fake)
                assert service.stop() == 0

        await asyncio.to_thread(tell)


def finds(client: httpx.Client) -> bool:
    """Whether several searches on fresh connections, so that both workers are asked, find it."""
    replies = [
        client.post("/search", json={"q": "harbour lamp"}, headers={"Connection": "close"})
        for _ in range(6)
    ]
    return all(reply.json()["hits"] for reply in replies)


def begun(client: httpx.Client) -> str:
    """Ask without waiting; the run's id."""
    reply = client.post("/answer?wait=false", json=QUESTION)
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"/api/v1/runs/{reply.json()['run_id']}"
    return str(reply.json()["run_id"])


def follow(client: httpx.Client, run_id: str, *, last: str | None = None) -> Iterator[dict]:
    """The events of a run on a connection of its own, reconnecting when a worker dies."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        headers = {"Last-Event-ID": last} if last else {}
        path = f"/api/v1/runs/{run_id}/events"
        try:
            with connect_sse(client, "GET", path, headers=headers) as source:
                for event in source.iter_sse():
                    last = event.id
                    yield {"id": event.id, "event": event.event, "data": json.loads(event.data)}
                    if event.event in ("complete", "error"):
                        return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("no terminal event")


def holder(service: Service, database: str, run_id: str) -> int:
    """The process that makes a run."""
    query = f"SELECT locked_by FROM job WHERE id = '{run_id}' AND state = 'running'"
    if database:
        import psycopg

        plain = database.replace("postgresql+asyncpg", "postgresql")
        with psycopg.connect(plain) as connection:
            row = connection.execute(query).fetchone()
    else:
        with sqlite3.connect(service.home / "var" / "dtrag.db") as connection:
            row = connection.execute(query).fetchone()
    assert row, "nobody makes the run"
    return int(row[0].rsplit(":", 2)[1])


def text_of(events: list[dict]) -> str:
    """All text that was told."""
    return "".join(each["data"]["text"] for each in events if each["event"] == "data")


async def test_the_curl_lines(tmp_path: Path, database: str) -> None:
    """202 with its Location, the events, the state, a late cancel that changes nothing."""

    def story(service: Service, _client: httpx.Client, _fake: FakeGemini) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", CURL],
            cwd=tmp_path,
            env={**os.environ, "URL": service.url, "KEY": service.key},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done
        names, run, again, answer = done.stdout.splitlines()
        assert names.startswith("event: metadataevent: progress")
        assert names.count("event: complete") == 1
        assert json.loads(run)["state"] == json.loads(again)["state"] == "done"
        body = json.loads(run)["answer"]
        assert body["answer_id"] == json.loads(run)["run_id"] == json.loads(answer)["answer_id"]
        assert body["answer"] == json.loads(answer)["answer"]

    await with_workers(tmp_path, database, story)


async def test_a_run_survives_its_worker(tmp_path: Path, database: str) -> None:
    """`kill -9` in mid-sentence: the reader goes on, and what it has joined is the answer."""

    def story(service: Service, client: httpx.Client, fake: FakeGemini) -> None:
        run_id = begun(client)
        events, killed = [], False
        for event in follow(client, run_id):
            events.append(event)
            if event["event"] == "data" and not killed:
                os.kill(holder(service, database, run_id), signal.SIGKILL)
                killed = True
        assert killed
        assert len(fake.calls) == 2
        assert events[-1]["event"] == "complete", events[-1]
        assert text_of(events) == events[-1]["data"]["answer"]
        assert all(sentence in text_of(events) for sentence in SENTENCES)
        assert [each["id"] for each in events] == [
            f"{run_id}.{place}" for place in range(1, len(events) + 1)
        ]
        assert [each["event"] for each in events].count("metadata") == 1
        assert events[0]["data"]["answer_id"] == events[-1]["data"]["answer_id"] == run_id
        view = client.get(f"/api/v1/runs/{run_id}").json()
        assert (view["state"], view["answer"]) == ("done", events[-1]["data"])

    await with_workers(tmp_path, database, story)


async def test_a_run_survives_a_power_cut(tmp_path: Path) -> None:
    """Everything is killed and started again; nobody had read, so the second answer may differ."""

    def story(service: Service, client: httpx.Client, fake: FakeGemini) -> None:
        run_id = begun(client)
        service.until(lambda: len(client.get(f"/api/v1/runs/{run_id}").json()["progress"]) > 2)
        time.sleep(1.5)  # so that text has been told
        service.kill()
        fake.reply = f"{SENTENCES[1]} [1]"
        service.start()
        service.until(lambda: client.get(f"/api/v1/runs/{run_id}").json()["state"] == "done")
        assert client.get(f"/api/v1/runs/{run_id}").json()["answer"]["answer"] == fake.reply

    await with_workers(tmp_path, "", story, workers=1)


async def test_a_cancel_reaches_the_other_worker(tmp_path: Path, database: str) -> None:
    """Whoever is asked, the model call stops; every reader gets one end, and it stays."""

    def story(service: Service, client: httpx.Client, fake: FakeGemini) -> None:
        for _ in range(4):  # so that both workers are asked
            fake.left.clear()
            run_id = begun(client)
            events = []
            for event in follow(client, run_id):
                events.append(event)
                if event["event"] == "data" and len(events) < 100:
                    with service.client() as other:
                        ended = other.delete(f"/api/v1/runs/{run_id}/")
                    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
            assert [each["event"] for each in events].count("error") == 1
            assert events[-1]["data"]["detail"] == "The run was cancelled."
            assert events[-1]["data"]["partial_text"] == text_of(events)
            end = time.monotonic() + 5
            while not fake.left.is_set():
                assert time.monotonic() < end, "the model still talks"
                time.sleep(0.01)
            assert client.delete(f"/api/v1/runs/{run_id}").json() == ended.json()

    await with_workers(tmp_path, database, story)
