"""Answers over a real WebSocket: who may ask, what comes back, and what stops a run."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.api.main import create_app
from apps.api.routes import socket as route
from apps.api.schemas.answer import AnswerReply
from apps.core.errors import ProviderBusy
from apps.core.settings import Settings
from tests.fakes.services import World

QUESTION = {"question": "딥러닝의 주요 개념은?"}
PRODUCTION = {"ENVIRONMENT": "production", "SECRET_KEY": "0123456789abcdef" * 4}


class Quiet(uvicorn.Server):
    """A server that leaves the signals of the test's process alone, and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """The address of a real server in this loop, e.g. `127.0.0.1:40123`."""
    server = Quiet(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    await asyncio.wait_for(server.up.wait(), 20)
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def address(world: World, settings: Settings) -> AsyncIterator[str]:
    """A server in development."""
    async with listening(create_app(settings, opening=world.opening)) as opened:
        yield opened


@pytest.fixture
async def guarded(world: World) -> AsyncIterator[str]:
    """A server in production."""
    production = Settings(**PRODUCTION)  # type: ignore[arg-type]
    async with listening(create_app(production, opening=world.opening)) as opened:
        yield opened


async def ask(socket: ClientConnection, question: object = QUESTION) -> list[dict]:
    """Send a question; its events up to the terminal one."""
    await socket.send(question if isinstance(question, str | bytes) else json.dumps(question))
    return await told(socket)


async def told(socket: ClientConnection) -> list[dict]:
    """Events up to a terminal one."""
    events = []
    async with asyncio.timeout(10):
        while not events or events[-1]["event"] not in ("complete", "error"):
            events.append(json.loads(await socket.recv()))
    return events


@pytest.mark.parametrize("path", route.PATHS)
async def test_one_question_after_the_other(address: str, world: World, path: str) -> None:
    """The events of a stream, each a JSON message with event, id and data; then the next."""
    async with connect(f"ws://{address}{path}") as socket:
        for number in range(1, 3):
            events = await ask(socket)
            assert [each["event"] for each in events] == [
                "metadata",
                "progress",
                "data",
                "complete",
            ]
            assert all(set(each) == {"event", "id", "data"} for each in events)
            assert len({each["id"] for each in events}) == len(events)
            record = AnswerReply.model_validate(events[-1]["data"])
            assert "".join(e["data"]["text"] for e in events if e["event"] == "data") == (
                record.answer
            )
            assert len(world.answerer.asked) == number
    first, second = world.answerer.asked
    assert first.request_id != second.request_id
    assert first.endpoint == "answer"
    assert first.decisions is not None


async def test_questions_that_come_at_once_are_answered_in_turn(address: str) -> None:
    """One at a time, none is lost, and no event of one stands between those of another."""
    async with connect(f"ws://{address}/ws/answer") as socket:
        for _ in range(3):
            await socket.send(json.dumps(QUESTION))
        for _ in range(3):
            events = await told(socket)
            assert [events[0]["event"], events[-1]["event"]] == ["metadata", "complete"]
            assert len({each["id"].rsplit(".", 1)[0] for each in events}) == 1


async def test_too_many_questions_at_once_end_the_socket(address: str, world: World) -> None:
    """What waits is bounded."""
    world.answerer.gates[0] = asyncio.Event()
    async with connect(f"ws://{address}/ws/answer") as socket:
        for _ in range(route.MOST_WAITING + 8):
            with contextlib.suppress(ConnectionClosed):
                await socket.send(json.dumps(QUESTION))
        with pytest.raises(ConnectionClosed) as closed:
            await told(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_input"),
        ("[]", "validation_error"),
        ({"question": "x", "colour": 1}, "validation_error"),
        ({}, "missing_parameter"),
        ('{"question": "a", "question": "b"}', "invalid_input"),
        (b'{"question": "x"}', "unsupported_operation"),
        ({"question": "x" * (1 << 20)}, "too_large"),
    ],
)
async def test_what_is_no_question_is_refused(address: str, message: object, code: str) -> None:
    """One terminal `error` with the problem, and the next question is answered."""
    async with connect(f"ws://{address}/ws/answer") as socket:
        (event,) = await ask(socket, message)
        assert (event["event"], event["data"]["code"]) == ("error", code)
        assert event["data"]["request_id"]
        assert (await ask(socket))[-1]["event"] == "complete"


async def test_a_failed_run_is_told(address: str, world: World) -> None:
    """The problem is the terminal event, with the text that was sent before it."""
    world.answerer.error = ProviderBusy("The model is busy.")
    async with connect(f"ws://{address}/ws/answer") as socket:
        events = await ask(socket)
    assert [each["event"] for each in events].count("error") == 1
    assert events[-1]["data"]["code"] == "rate_limit_exceeded"
    assert events[-1]["data"]["partial_text"]


async def test_a_closed_socket_stops_the_run(address: str, world: World) -> None:
    """The model call is cancelled as soon as nobody listens."""
    world.answerer.gates[1] = asyncio.Event()
    async with connect(f"ws://{address}/ws/answer") as socket:
        await socket.send(json.dumps(QUESTION))
        await socket.recv()
    await asyncio.wait_for(world.answerer.left.wait(), 5)


async def refused(
    address: str, *, headers: dict[str, str] | None = None, protocols: Sequence[str] | None = None
) -> tuple[int, dict]:
    """Status and problem of a handshake that must fail."""
    with pytest.raises(InvalidStatus) as found:
        async with connect(
            f"ws://{address}/ws/answer", additional_headers=headers, subprotocols=protocols
        ):
            pass
    response = found.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, json.loads(response.body)


async def test_who_may_ask(guarded: str, world: World) -> None:
    """No key, a wrong one, one without the scope: the handshake fails with the problem."""
    searcher, good = world.stores.keys.add("search"), world.stores.keys.add("answer")
    assert (await refused(guarded))[0] == 401
    status, problem = await refused(guarded, headers={"X-API-Key": "wrong"})
    assert (status, problem["code"]) == (401, "authentication_required")
    assert (await refused(guarded, headers={"X-API-Key": searcher}))[0] == 403
    assert (await refused(guarded, protocols=["dtrag", "dtrag.key.wrong"]))[0] == 401
    for headers in ({"X-API-Key": good}, {"Authorization": f"Bearer {good}"}):
        async with connect(f"ws://{guarded}/ws/answer", additional_headers=headers) as socket:
            assert (await ask(socket))[-1]["event"] == "complete"
    assert {each.caller.key_id for each in world.answerer.asked} == {"k1"}


async def test_a_browser_shows_its_key_as_a_subprotocol(guarded: str, world: World) -> None:
    """The key is taken, and only the harmless name comes back."""
    good = world.stores.keys.add("answer")
    protocols = ["dtrag", f"dtrag.key.{good}"]
    async with connect(
        f"ws://{guarded}/ws/answer", subprotocols=protocols, origin="https://elsewhere.example"
    ) as socket:
        assert socket.subprotocol == "dtrag"
        assert (await ask(socket))[-1]["event"] == "complete"


async def test_a_key_in_the_address_is_not_looked_at(guarded: str, world: World) -> None:
    """Addresses are logged, so they open nothing."""
    good = world.stores.keys.add("answer")
    with pytest.raises(InvalidStatus):
        async with connect(f"ws://{guarded}/ws/answer?api_key={good}&X-API-Key={good}"):
            pass


async def test_a_page_of_somebody_else_may_not_use_this_machine(address: str) -> None:
    """Without a key, a browser may only show a page of this very service."""
    assert (await refused(address, headers={"Origin": "https://elsewhere.example"}))[0] == 401
    assert (await refused(address, headers={"Origin": "null"}))[0] == 401
    async with connect(f"ws://{address}/ws/answer", origin=f"http://{address}") as socket:
        assert (await ask(socket))[-1]["event"] == "complete"


async def test_each_question_counts(guarded: str, world: World) -> None:
    """The limit of a key holds for questions; those beyond it are refused one by one."""
    key = world.stores.keys.add("answer", rate_limit_per_minute=2)
    async with connect(
        f"ws://{guarded}/ws/answer", additional_headers={"X-API-Key": key}
    ) as socket:
        ends = [(await ask(socket))[-1] for _ in range(4)]
    assert [end["event"] for end in ends] == ["complete", "complete", "error", "error"]
    assert ends[-1]["data"]["code"] == "rate_limited"
    assert world.usage.counted == ["k0"] * 4


async def test_a_revoked_key_ends_at_the_next_question(guarded: str, world: World) -> None:
    """An open socket is no way around a revocation."""
    key = world.stores.keys.add("answer")
    async with connect(
        f"ws://{guarded}/ws/answer", additional_headers={"X-API-Key": key}
    ) as socket:
        assert (await ask(socket))[-1]["event"] == "complete"
        await world.stores.keys.revoke("k0")
        (event,) = await ask(socket)
        assert event["data"]["code"] == "authentication_required"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_an_idle_socket_is_closed(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds a connection for nothing."""
    monkeypatch.setattr(route, "IDLE_S", 0.01)
    async with connect(f"ws://{address}/ws/answer") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_a_service_that_does_not_get_ready_is_told(world: World) -> None:
    """While the answerer loads a question waits, but not for ever."""
    world.ready = False
    quick = Settings(REQUEST_TIMEOUT_S=0.05)
    async with (
        listening(create_app(quick, opening=world.opening)) as address,
        connect(f"ws://{address}/ws/answer") as socket,
    ):
        (event,) = await ask(socket)
    assert event["data"]["code"] == "deadline_exceeded"
