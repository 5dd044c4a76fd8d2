"""Runs that go on without their caller, over HTTP and a real database."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from httpx_sse import aconnect_sse

from apps.api import kept_runs
from apps.api.main import create_app
from apps.api.run_worker import AT_ONCE
from apps.api.schemas.runs import AcceptedRunReply, RunReply
from apps.core.domain.models import Caller
from apps.core.errors import NotFound, ProviderBusy
from apps.core.settings import Settings
from apps.core.storage import jobs, runs
from apps.core.storage.runs import KEPT_S
from tests.api.conftest import serving
from tests.fakes.answerer import PIECES
from tests.fakes.services import World

QUESTION = {"question": "딥러닝의 주요 개념은?"}
PATHS = ["/answer", "/answer/", "/api/v1/answer", "/api/v1/answer/", "/api/v1/pipeline/execute/"]
PRODUCTION = {"ENVIRONMENT": "production", "SECRET_KEY": "0123456789abcdef" * 4}
Events = list[tuple[str, str, dict]]


@pytest.fixture
def world(sqlite_url: str) -> World:
    """Fakes over a real database, with a worker of runs."""
    return World(database_url=sqlite_url)


@pytest.fixture
async def guarded(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service in production."""
    production = Settings(**PRODUCTION)  # type: ignore[arg-type]
    async with serving(create_app(production, opening=world.opening)) as opened:
        yield opened


async def accept(client: httpx.AsyncClient, path: str = "/answer", **more: object) -> str:
    """Ask without waiting; the run's id."""
    reply = await client.post(f"{path}?wait=false", json={**QUESTION, **more})
    assert reply.status_code == 202, reply.text
    run_id = AcceptedRunReply.model_validate_json(reply.content).run_id
    assert reply.headers["location"] == f"/api/v1/runs/{run_id}"
    assert reply.headers["x-request-id"]
    return run_id


async def follow(client: httpx.AsyncClient, run_id: str, *, last: str | None = None) -> Events:
    """All events of a run."""
    headers = {"Last-Event-ID": last} if last else {}
    path = f"/api/v1/runs/{run_id}/events"
    async with aconnect_sse(client, "GET", path, headers=headers) as source:
        return [(each.id, each.event, json.loads(each.data)) async for each in source.aiter_sse()]


async def view(client: httpx.AsyncClient, run_id: str) -> RunReply:
    """How far a run is."""
    reply = await client.get(f"/api/v1/runs/{run_id}")
    assert reply.status_code == 200, reply.text
    return RunReply.model_validate_json(reply.content)


async def until(asked: Sequence[object], number: int = 1) -> None:
    """Wait until the answerer was asked so often."""
    async with asyncio.timeout(10):
        for _ in itertools.count():
            if len(asked) >= number:
                return
            await asyncio.sleep(0)


@pytest.mark.parametrize("path", PATHS)
async def test_accepted_followed_and_looked_at(client: httpx.AsyncClient, path: str) -> None:
    """202 with Location; the events are those of a stream; the view has the plain answer's body."""
    run_id = await accept(client, path)
    events = await follow(client, run_id)
    assert [name for _, name, _ in events] == ["metadata", "progress", "data", "complete"]
    assert [number for number, _, _ in events] == [f"{run_id}.{n}" for n in range(1, 5)]
    found = await view(client, run_id)
    assert (found.state, found.problem) == ("done", None)
    assert [(each.node, each.step) for each in found.progress] == [("retrieve", "started")]
    assert found.answer is not None
    assert found.answer.answer == "".join(PIECES)
    assert (await client.get(f"/api/v1/runs/{run_id}/")).json()["answer"] == events[-1][2]


async def test_a_reader_gets_the_rest(client: httpx.AsyncClient) -> None:
    """`Last-Event-ID` skips what is known, also after the end; nonsense is refused."""
    run_id = await accept(client)
    events = await follow(client, run_id)
    assert await follow(client, run_id, last=events[1][0]) == events[2:]
    assert await follow(client, run_id, last=events[-1][0]) == []
    for last, status in (("nonsense", 404), (f"{run_id}.x", 404), ("other.1", 409)):
        path = f"/api/v1/runs/{run_id}/events"
        reply = await client.get(path, headers={"Last-Event-ID": last})
        assert reply.status_code == status, last


async def test_a_reader_in_the_middle_is_told_as_it_happens(
    client: httpx.AsyncClient, world: World
) -> None:
    """Events come before the end, the state says running, and a second reader gets the same."""
    gate = world.answerer.gates[2] = asyncio.Event()
    run_id = await accept(client)
    first = asyncio.create_task(follow(client, run_id))
    await until(world.answerer.asked)
    assert (await view(client, run_id)).state == "running"
    second = asyncio.create_task(follow(client, run_id))
    gate.set()
    assert await first == await second
    assert (await first)[-1][1] == "complete"


@pytest.mark.parametrize("value", ["0", "no", "FALSE", "off"])
async def test_other_words_for_false(client: httpx.AsyncClient, value: str) -> None:
    """As for documents."""
    assert (await client.post(f"/answer?wait={value}", json=QUESTION)).status_code == 202


@pytest.mark.parametrize("value", ["", "maybe", "2", "null"])
async def test_an_unknown_wait_is_refused(client: httpx.AsyncClient, value: str) -> None:
    """422 in the one shape of problems."""
    reply = await client.post(f"/answer?wait={value}", json=QUESTION)
    assert (reply.status_code, reply.json()["code"]) == (422, "validation_error")
    assert reply.json()["detail"].startswith("wait: ")


async def test_a_caller_who_does_not_wait_gets_no_stream(client: httpx.AsyncClient) -> None:
    """Field and header are refused alike, and the problem says where the events are."""
    asked = await client.post("/answer?wait=false", json={**QUESTION, "stream": True})
    headers = {"Accept": "text/event-stream"}
    shown = await client.post("/answer?wait=false", json=QUESTION, headers=headers)
    for reply in (asked, shown):
        assert (reply.status_code, reply.json()["code"]) == (422, "validation_error")
        assert "/api/v1/runs/{run_id}/events" in reply.json()["detail"]


async def test_the_same_key_is_the_same_run(client: httpx.AsyncClient, world: World) -> None:
    """A repeat gives the first run's id and place; a plain answer with the key is another thing."""
    headers = {"Idempotency-Key": "k1"}
    first = await client.post("/answer?wait=false", json=QUESTION, headers=headers)
    again = await client.post("/answer?wait=0", json=QUESTION, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    await follow(client, first.json()["run_id"])
    assert len(world.answerer.asked) == 1
    other = await client.post("/answer?wait=false", json={"question": "x"}, headers=headers)
    assert other.status_code == 409
    plain = await client.post("/answer", json=QUESTION, headers=headers)
    assert plain.status_code == 200


async def test_a_failed_run(client: httpx.AsyncClient, world: World) -> None:
    """The view and the last event hold the same problem, with the text that was told."""
    world.answerer.error = ProviderBusy("The model is busy.")
    run_id = await accept(client)
    events = await follow(client, run_id)
    assert [name for _, name, _ in events].count("error") == 1
    found = (await client.get(f"/api/v1/runs/{run_id}")).json()
    assert (found["state"], found["answer"]) == ("failed", None)
    assert found["problem"] == events[-1][2]
    assert found["problem"]["code"] == "rate_limit_exceeded"
    assert found["problem"]["partial_text"] == "".join(PIECES)


async def test_a_surprise_ends_the_run_too(client: httpx.AsyncClient, world: World) -> None:
    """A failure that nobody foresaw is told without its words, and the next run works."""
    world.answerer.surprise = RuntimeError("SELECT")
    raw = json.dumps(await follow(client, await accept(client)))
    assert "system_failure" in raw
    assert "SELECT" not in raw
    world.answerer.surprise = None
    assert (await follow(client, await accept(client)))[-1][1] == "complete"


async def test_cancelled(client: httpx.AsyncClient, world: World) -> None:
    """The model call stops at once; a second cancel and a late one change nothing."""
    world.answerer.gates[1] = asyncio.Event()
    run_id = await accept(client)
    reading = asyncio.create_task(follow(client, run_id))
    await until(world.answerer.asked)
    reply = await client.delete(f"/api/v1/runs/{run_id}")
    assert RunReply.model_validate_json(reply.content).state == "cancelled"
    await asyncio.wait_for(world.answerer.left.wait(), 5)
    assert (await reading)[-1][1:] == ("error", reply.json()["problem"])
    assert (await client.delete(f"/api/v1/runs/{run_id}")).json() == reply.json()
    assert reply.json()["problem"]["detail"] == "The run was cancelled."
    world.answerer.gates.clear()
    done = await accept(client)
    await follow(client, done)
    assert (await client.delete(f"/api/v1/runs/{done}")).json()["state"] == "done"


async def test_a_worker_makes_so_many_at_once(client: httpx.AsyncClient, world: World) -> None:
    """The others wait for their turn, can be cancelled, and are made in the end."""
    gate = world.answerer.gates[0] = asyncio.Event()
    ids = [await accept(client) for _ in range(AT_ONCE + 2)]
    await until(world.answerer.asked, AT_ONCE)
    states = [(await view(client, run_id)).state for run_id in ids]
    assert sorted(states) == ["queued"] * 2 + ["running"] * AT_ONCE
    waiting = ids[states.index("queued")]
    assert (await client.delete(f"/api/v1/runs/{waiting}")).json()["state"] == "cancelled"
    gate.set()
    for run_id in ids:
        await follow(client, run_id)
    assert len(world.answerer.asked) == AT_ONCE + 1


async def test_so_many_may_wait(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is bounded; beyond it 429 with the time to come back."""
    monkeypatch.setattr(kept_runs, "MOST_WAITING", 0)
    reply = await client.post("/answer?wait=false", json=QUESTION)
    assert (reply.status_code, reply.json()["code"]) == (429, "rate_limited")
    assert reply.headers["retry-after"] == "5"


async def test_a_run_is_its_owners(guarded: httpx.AsyncClient, world: World) -> None:
    """Another key finds nothing, whatever it tries; an administrator finds everything."""
    keys = world.stores.keys
    mine, yours, admin = keys.add("answer"), keys.add("answer"), keys.add("admin")
    reply = await guarded.post("/answer?wait=false", json=QUESTION, headers={"X-API-Key": mine})
    place = reply.headers["location"]
    for key, status in ((yours, 404), (mine, 200), (admin, 200)):
        for path in (place, f"{place}/events"):
            assert (await guarded.get(path, headers={"X-API-Key": key})).status_code == status
    assert (await guarded.delete(place, headers={"X-API-Key": yours})).status_code == 404
    assert (await guarded.delete(place, headers={"X-API-Key": mine})).json()["state"] == "done"
    assert world.answerer.asked[-1].caller == Caller("k0", frozenset({"answer"}))


async def test_each_way_in_counts(guarded: httpx.AsyncClient, world: World) -> None:
    """The limit of a key holds when the question is accepted."""
    key = {"X-API-Key": world.stores.keys.add("answer", rate_limit_per_minute=1)}
    assert (await guarded.post("/answer?wait=0", json=QUESTION, headers=key)).status_code == 202
    assert (await guarded.post("/answer?wait=0", json=QUESTION, headers=key)).status_code == 429


async def test_a_run_is_kept_for_five_minutes(client: httpx.AsyncClient, world: World) -> None:
    """Then it is gone for everybody, and the problem says where the answer is."""
    run_id = await accept(client)
    await follow(client, run_id)
    world.clock.pass_s(KEPT_S - 1)
    assert (await view(client, run_id)).state == "done"
    world.clock.pass_s(2)
    for path in (f"/api/v1/runs/{run_id}", f"/api/v1/runs/{run_id}/events"):
        gone = await client.get(path)
        assert gone.status_code == 404
        assert "/api/v1/answers/" in gone.json()["detail"]
    assert (await client.delete(f"/api/v1/runs/{run_id}")).status_code == 404
    # It woke up the worker, whose housekeeping has come due.
    await accept(client)
    storage = world.stores.storage
    assert storage is not None
    while True:
        async with storage.reading() as s:
            if await jobs.get(s, run_id) is None and not await runs.frames(s, run_id):
                return
        await asyncio.sleep(0)


async def test_nothing_personal_is_stored(client: httpx.AsyncClient, world: World) -> None:
    """The waiting question is masked, and of who asks nothing is kept."""
    world.answerer.gates[0] = asyncio.Event()
    planted = ("010-7391-4826", "hong.gildong@mail-test.example")
    await accept(
        client,
        question=f"{planted[0]}의 점검 주기는?",
        user_id=planted[1],
        session_id=planted[0],
        filters={"tags": [planted[0]], "canonical_in": [[planted[1]]]},
    )
    storage = world.stores.storage
    assert storage is not None
    async with storage.reading() as s:
        stored = json.dumps([str(each) for each in await jobs.listed(s)], ensure_ascii=False)
    assert "점검 주기는" in stored
    assert not [each for each in planted if each in stored]


async def test_the_run_is_asked_what_the_caller_asked(
    client: httpx.AsyncClient, world: World
) -> None:
    """Every option comes through the database as it was, and the flags of the door with it."""
    options = {
        "mode": "summary",
        "final_topk": 7,
        "filters": {"tags": ["a"], "doc_id": ["d"], "language": "ko", "date_from": "2024-01-01"},
        "language": "ko",
        "timeout_s": 2.5,
        "max_cost": 0.01,
    }
    headers = {"X-Request-ID": "r-1", "X-DTRAG-Synthetic": "1", "Accept-Language": "ko-KR"}
    body = {**QUESTION, **options}
    reply = await client.post("/answer?wait=false", json=body, headers=headers)
    await follow(client, reply.json()["run_id"])
    await client.post("/answer", json=body, headers=headers)
    kept, plain = world.answerer.asked
    assert kept.decisions == plain.decisions
    for name in ("question", "mode", "top_k", "filters", "language", "timeout_s", "max_cost"):
        assert getattr(kept, name) == getattr(plain, name), name
    for name in ("request_id", "locale", "endpoint", "synthetic"):
        assert getattr(kept, name) == getattr(plain, name), name


async def test_an_outage_refuses_a_run(client: httpx.AsyncClient, world: World) -> None:
    """What cannot be kept is not accepted, and the caller is told when to come back."""
    storage = world.stores.storage
    assert storage is not None
    assert storage.url.database
    await asyncio.to_thread(Path(storage.url.database).rename, f"{storage.url.database}.away")
    reply = await client.post("/answer?wait=false", json=QUESTION)
    assert (reply.status_code, reply.json()["code"]) == (503, "network_failure")
    assert reply.headers["retry-after"] == "1"


async def test_a_silent_run_shows_that_it_lives(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment every fifteen seconds, as in every stream."""
    monkeypatch.setattr(kept_runs, "HERE_S", 0.001)
    world.answerer.gates[0] = asyncio.Event()
    run_id = await accept(client)
    await until(world.answerer.asked)
    assert world.stores.runs is not None
    events = await world.stores.runs.follow(run_id, Caller(None, frozenset()), after=0)
    said = b""
    while said.count(b"event: ") < 2:
        said += await anext(events)
    world.clock.pass_s(15)
    assert await anext(events) == b": alive\n\n"
    await events.aclose()  # type: ignore[attr-defined]


async def test_nobodys_run(client: httpx.AsyncClient, world: World) -> None:
    """An unknown id and the id of another job are both no run."""
    storage = world.stores.storage
    assert storage is not None
    async with storage.session() as s:
        await jobs.enqueue(s, jobs.Job("job-1", "ingest"), now=1.0)
    assert world.stores.runs is not None
    for run_id in ("none", "job-1"):
        assert (await client.get(f"/api/v1/runs/{run_id}")).status_code == 404
        with pytest.raises(NotFound):
            await world.stores.runs.cancel(run_id, Caller(None, frozenset({"admin"})))
