"""Answers over HTTP: as one body, as events, once, and with feedback."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI
from httpx_sse import aconnect_sse
from starlette.types import Message, Scope

from apps.api.main import create_app
from apps.api.schemas.answer import AnswerReply, StoredAnswerReply
from apps.core.errors import ProviderBusy
from apps.core.settings import Settings
from tests.api.conftest import serving
from tests.fakes.answerer import PIECES
from tests.fakes.services import World

QUESTION = {"question": "딥러닝의 주요 개념은?"}
PATHS = ["/answer", "/answer/", "/api/v1/answer", "/api/v1/pipeline/execute"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_cited_answer_on_every_path(client: httpx.AsyncClient, path: str) -> None:
    """The reply fits its model, and every [n] has a citation."""
    reply = await client.post(path, json={**QUESTION, "mode": "answer"})
    assert reply.status_code == 200
    body = AnswerReply.model_validate_json(reply.content)
    assert [each.index for each in body.citations] == [1]
    assert body.source_count == len(body.sources) == 1
    assert "debate_mode=off" in reply.headers["x-dtrag-flags-effective"].split(";")
    assert "retrieve;dur=6.10" in reply.headers["server-timing"]


async def test_what_the_answerer_is_asked(client: httpx.AsyncClient, world: World) -> None:
    """Every option reaches it as the domain's word."""
    body = {
        "q": "why?",
        "mode": "summary",
        "max_results": 7,
        "filters": {"tags": ["a"]},
        "session_id": "s",
        "user_id": "u",
        "language": "en",
        "timeout_s": 2.5,
        "max_cost": 0.01,
    }
    await client.post("/answer", json=body, headers={"X-Request-ID": "r-1"})
    asked = world.answerer.asked[-1]
    assert (asked.question, asked.mode, asked.top_k, asked.filters.tags) == (
        "why?",
        "summary",
        7,
        ("a",),
    )
    assert (asked.session_id, asked.user_id, asked.language) == ("s", "u", "en")
    assert (asked.timeout_s, asked.max_cost, asked.request_id) == (2.5, 0.01, "r-1")
    assert asked.caller.key_id is None


async def test_a_failed_answer(client: httpx.AsyncClient, world: World) -> None:
    """An error of the tree keeps its status, code and advice."""
    world.answerer.error = ProviderBusy("The model is busy.", retry_after_s=3)
    reply = await client.post("/answer", json=QUESTION)
    assert (reply.status_code, reply.json()["code"]) == (503, "rate_limit_exceeded")
    assert reply.headers["retry-after"] == "3"


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_streamed_answer(client: httpx.AsyncClient, *, by_header: bool) -> None:
    """A real client reads metadata, progress, data and one end; joined data is the answer."""
    headers = {"Accept": "text/event-stream"} if by_header else {}
    body = QUESTION if by_header else {**QUESTION, "stream": True}
    async with aconnect_sse(client, "POST", "/answer", json=body, headers=headers) as source:
        events = [(each.event, each.id, json.loads(each.data)) async for each in source.aiter_sse()]
    assert [name for name, _, _ in events] == ["metadata", "progress", "data", "complete"]
    assert len({event_id for _, event_id, _ in events}) == len(events)
    record = AnswerReply.model_validate(events[-1][2])
    assert "".join(body["text"] for name, _, body in events if name == "data") == record.answer


async def test_a_stream_is_resumed(client: httpx.AsyncClient, world: World) -> None:
    """The events behind Last-Event-ID come again without a second run."""
    first = await client.post("/answer", json={**QUESTION, "stream": True})
    second_id = first.text.split("\n\n")[1].split("\n")[0].removeprefix("id: ")
    again = await client.post(
        "/answer", json={**QUESTION, "stream": True}, headers={"Last-Event-ID": second_id}
    )
    assert again.text == "\n\n".join(first.text.split("\n\n")[2:])
    assert len(world.answerer.asked) == 1
    gone = await client.post(
        "/answer", json={**QUESTION, "stream": True}, headers={"Last-Event-ID": "x.1"}
    )
    assert gone.status_code == 404


async def hang_up(app: FastAPI, body: dict[str, object]) -> list[Message]:
    """Ask, read until the first body bytes or forever, then close the socket."""
    raw = json.dumps(body).encode()
    leave = asyncio.Event()
    inbox: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if inbox:
            return inbox.pop()
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/answer",
        "raw_path": b"/answer",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    serving_it = asyncio.create_task(app(scope, receive, send))
    for _ in range(50):
        await asyncio.sleep(0)
    leave.set()
    await asyncio.wait_for(serving_it, 5)
    return sent


@pytest.mark.parametrize("stream", [True, False])
async def test_a_closed_socket_stops_the_run(
    world: World, settings: Settings, *, stream: bool
) -> None:
    """The model call is cancelled as soon as nobody listens, streamed or not."""
    world.answerer.gates[1] = asyncio.Event()
    app = create_app(settings, opening=world.opening)
    async with serving(app):
        sent = await hang_up(app, {**QUESTION, "stream": stream})
    assert world.answerer.cancelled == 1
    assert not any(b"complete" in each.get("body", b"") for each in sent)


async def test_the_same_key_and_body_have_one_answer(
    client: httpx.AsyncClient, world: World
) -> None:
    """The second reply is the first one, as a body and as events; another body is refused."""
    headers = {"Idempotency-Key": "k1"}
    first = await client.post("/answer", json=QUESTION, headers=headers)
    second = await client.post("/answer", json=QUESTION, headers=headers)
    assert second.content == first.content
    assert second.headers["idempotent-replayed"] == "true"
    assert len(world.answerer.asked) == 1
    other = await client.post("/answer", json={"question": "x"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "business_rule_violation")


async def test_a_streamed_answer_is_remembered_too(client: httpx.AsyncClient, world: World) -> None:
    """A repeated stream tells the first answer."""
    headers = {"Idempotency-Key": "k1", "Accept": "text/event-stream"}
    await client.post("/answer", json=QUESTION, headers=headers)
    again = await client.post("/answer", json=QUESTION, headers=headers)
    assert "event: complete" in again.text
    assert "".join(PIECES) in again.text
    assert len(world.answerer.asked) == 1


async def test_a_failed_request_may_be_tried_again(client: httpx.AsyncClient, world: World) -> None:
    """A failure does not use up the key."""
    headers = {"Idempotency-Key": "k1"}
    world.answerer.error = ProviderBusy("busy")
    assert (await client.post("/answer", json=QUESTION, headers=headers)).status_code == 503
    world.answerer.error = None
    assert (await client.post("/answer", json=QUESTION, headers=headers)).status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_an_answer_is_given_without_a_promise_while_the_database_is_away(
    client: httpx.AsyncClient, world: World, accept: str
) -> None:
    """Answering twice harms nobody; an opinion cannot be kept, so it is refused."""
    world.stores.once.away = True
    headers = {"Idempotency-Key": "k1", "Accept": accept}
    assert (await client.post("/answer", json=QUESTION, headers=headers)).status_code == 200
    said = {"answer_id": "a", "rating": 5}
    reply = await client.post("/api/v1/feedback", json=said, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (503, "network_failure")


@pytest.mark.parametrize("error", [None, ProviderBusy("busy")])
async def test_an_outage_in_the_middle_takes_no_answer_away(
    client: httpx.AsyncClient, world: World, error: ProviderBusy | None
) -> None:
    """The claim can neither be kept nor dropped; the caller gets what happened nevertheless."""

    async def claimed(_ticket: object, *, body_sha256: str) -> None:
        assert body_sha256
        world.stores.once.away = True

    # One request only; a whole class would say less.
    world.stores.once.begin = claimed  # type: ignore[method-assign]
    world.answerer.error = error
    reply = await client.post("/answer", json=QUESTION, headers={"Idempotency-Key": "k1"})
    assert reply.status_code == (200 if error is None else 503)
    assert error is None or reply.json()["code"] == "rate_limit_exceeded"


async def test_a_key_is_kept_as_its_digest_only(client: httpx.AsyncClient, world: World) -> None:
    """An Idempotency-Key that names a person does not reach the database."""
    headers = {"Idempotency-Key": "order-of-test@example.com"}
    assert (await client.post("/answer", json=QUESTION, headers=headers)).status_code == 200
    ((_, _, kept),) = world.stores.once.rows
    assert "test@" not in kept


async def test_an_unusable_idempotency_key(client: httpx.AsyncClient) -> None:
    """Empty, over 255 characters, or not visible."""
    for key in ("", "x" * 256, "a b", "\x7f"):
        reply = await client.post("/answer", json=QUESTION, headers={"Idempotency-Key": key})
        assert reply.status_code == 400


async def test_feedback(client: httpx.AsyncClient, world: World) -> None:
    """It is accepted once stored, shown with the answer, and replaced by a second opinion."""
    body = (await client.post("/answer", json=QUESTION)).json()
    answer_id = body["answer_id"]
    world.stores.answers.bodies[answer_id] = body
    for opinion in ({"rating": 1}, {"thumbs_up": True, "labels": ["clear"], "comment": "good"}):
        reply = await client.post("/api/v1/feedback", json={"answer_id": answer_id, **opinion})
        assert (reply.status_code, reply.json()) == (202, {"accepted": True})
    stored = await client.get(f"/api/v1/answers/{answer_id}")
    found = StoredAnswerReply.model_validate_json(stored.content)
    assert [(each.reward, each.labels) for each in found.feedback] == [(1.0, ["clear"])]
    assert found.reward.feedback == 1.0


async def test_an_answer_nobody_judged(client: httpx.AsyncClient, world: World) -> None:
    """Nothing was measured, so the reward is null."""
    body = (await client.post("/answer", json=QUESTION)).json()
    world.stores.answers.bodies["a"] = body
    stored = (await client.get("/api/v1/answers/a")).json()
    assert (stored["feedback"], stored["reward"]) == ([], {"feedback": None})


async def test_an_unknown_answer(client: httpx.AsyncClient) -> None:
    """Neither read nor judged."""
    assert (await client.get("/api/v1/answers/none")).status_code == 404
    judged = await client.post("/api/v1/feedback", json={"answer_id": "none", "reward": 0.5})
    assert judged.status_code == 404


@pytest.mark.parametrize(
    ("said", "reward"),
    [({"rating": 1}, -1.0), ({"rating": 4}, 0.5), ({"thumbs_up": False}, -1.0), ({"reward": 1}, 1)],
)
async def test_one_number_from_any_opinion(
    client: httpx.AsyncClient, world: World, said: dict[str, object], reward: float
) -> None:
    """Stars, thumbs and rewards share one scale."""
    world.stores.answers.bodies["a"] = {}
    await client.post("/api/v1/feedback", json={"answer_id": "a", **said})
    assert world.stores.answers.said[("a", "local")].reward == reward


async def test_saying_nothing_is_no_feedback(client: httpx.AsyncClient) -> None:
    """One of the three is needed."""
    reply = await client.post("/api/v1/feedback", json={"answer_id": "a", "comment": "?"})
    assert reply.status_code == 422


async def test_an_early_question_waits(world: World, settings: Settings) -> None:
    """While the answerer loads, a question waits for it instead of failing."""
    world.ready = False
    app = create_app(settings, opening=world.opening)
    async with serving(app) as client:
        asking = asyncio.create_task(client.post("/answer", json=QUESTION))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not asking.done()
        app.services.answerer.succeed(world.answerer)
        assert (await asking).status_code == 200
