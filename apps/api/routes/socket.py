"""Answers over a WebSocket: a question as one text message, its events as JSON messages.

A browser cannot set headers on a WebSocket, so it may show its key as a subprotocol; an address
never holds one, because addresses are logged. No cookie is ever looked at: a page of somebody
else's has nothing to send that would make its visitor's browser speak for the visitor. What a
machine allows its own programs without a key is another thing: there the page must be ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import structlog
from fastapi import APIRouter
from starlette.routing import WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from apps.api import sse
from apps.api.admission import WHO, Admission, caller_of
from apps.api.auth import credential
from apps.api.bodies import parse
from apps.api.deciding import decided
from apps.api.errors import problem_response
from apps.api.exchange import KEY, Exchange, exchange_of, fresh_id
from apps.api.middleware import request_id_of
from apps.api.operation import SCOPE
from apps.api.ports import Answerer
from apps.api.runs import Run
from apps.api.schemas.answer import AnswerBody
from apps.api.services import services_of
from apps.core.domain.models import AnswerRecord, AnswerRequest
from apps.core.errors import (
    DeadlineExceeded,
    DtRagError,
    NotAllowed,
    NotAuthenticated,
    TooLarge,
    UnsupportedOperation,
)
from apps.core.telemetry import metrics

T = TypeVar("T")
ANSWER = "answer"
PROTOCOL, KEY_PROTOCOL = "dtrag", "dtrag.key."
PATHS = ("/ws/answer", "/ws/answer/", "/api/v1/ws/answer", "/api/v1/ws/answer/")
# Questions that may come before the one at hand is answered.
MOST_WAITING = 8
IDLE_S = 300.0
# RFC 6455, 7.4.1: a rule of ours was broken; somebody stopped asking.
VIOLATION, NORMAL = 1008, 1000
ADMISSION = Admission(ANSWER)
log = structlog.get_logger(__name__)


class AnswerSocket(WebSocketRoute):
    """A route that says who may call it, as all do."""

    openapi_extra = {SCOPE: ANSWER}  # noqa: RUF012 - as FastAPI's own routes have it


async def serve(socket: WebSocket) -> None:
    """Let in whoever may ask, answer one question after the other, and stop when they leave."""
    exchange = socket.scope[KEY] = _exchange(socket)
    try:
        await _admit(socket)
    except DtRagError as error:
        await _refuse(socket, error)
        return
    named = PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None
    head = [(b"x-request-id", exchange.request_id.encode())]
    await socket.accept(subprotocol=named, headers=head)
    await _converse(socket)


router = APIRouter(tags=["answer"])
router.routes.extend(AnswerSocket(path, serve) for path in PATHS)


def _exchange(socket: WebSocket) -> Exchange:
    services = services_of(socket)
    asked = dict(reversed(socket.scope["headers"]))
    shown = [each for each in socket.scope["subprotocols"] if each.startswith(KEY_PROTOCOL)]
    if shown and b"x-api-key" not in asked and b"authorization" not in asked:
        asked[b"x-api-key"] = shown[0].removeprefix(KEY_PROTOCOL).encode("latin-1")
    now_s = services.clock.monotonic()
    deadline_s = now_s + services.settings.REQUEST_TIMEOUT_S
    return Exchange(request_id_of(asked), now_s, deadline_s, asked)


async def _admit(socket: WebSocket) -> None:
    """As for a request over HTTP.

    Raises:
        DtRagError: the caller may not ask, or not now.
    """
    asked = exchange_of(socket.scope).asked
    if credential(asked) is None and not _is_own_page(asked.get(b"origin"), asked.get(b"host")):
        raise NotAuthenticated(WHO)
    await _ready(socket, ADMISSION(socket))


async def _ready(socket: WebSocket, work: Awaitable[T]) -> T:
    """Wait for a part of the service that may still be loading.

    Raises:
        DeadlineExceeded: for as long as a request may take.
    """
    limit_s = services_of(socket).settings.REQUEST_TIMEOUT_S
    try:
        async with asyncio.timeout(limit_s):
            return await work
    except TimeoutError as error:
        raise DeadlineExceeded(f"Not ready within {limit_s:g} s.") from error


def _is_own_page(origin: bytes | None, host: bytes | None) -> bool:
    """Whether no browser speaks, or one that shows a page of this very service.

    Source: RFC 6455, 10.2; the same-origin policy does not cover WebSockets.
    """
    if origin is None:
        return True
    return urlsplit(origin.decode("latin-1")).netloc.lower() == (host or b"").decode().lower()


async def _refuse(socket: WebSocket, error: DtRagError) -> None:
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        problem = problem_response(error, exchange_of(socket.scope).request_id)
        await socket.send_denial_response(problem)
        return
    await socket.close(VIOLATION)


async def _converse(socket: WebSocket) -> None:
    first = exchange_of(socket.scope)
    inbox: asyncio.Queue[Message] = asyncio.Queue(MOST_WAITING)
    tasks = [asyncio.create_task(each) for each in (_read(socket, inbox), _talk(socket, inbox))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        spent_s = services_of(socket).clock.monotonic() - first.started_s
        key_id = first.caller.key_id if first.caller else None
        log.info(
            "socket.closed",
            request_id=first.request_id,
            key_id=key_id,
            duration_ms=round(spent_s * 1e3),
        )
    for end in ends:
        # Whoever hangs up while something is sent to them is no failure of ours.
        if isinstance(end, Exception) and not isinstance(end, OSError | TimeoutError):
            log.error("socket.failed", request_id=first.request_id, exc_info=end)


async def _read(socket: WebSocket, inbox: asyncio.Queue[Message]) -> None:
    """Take messages until the caller leaves."""
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        if inbox.full():
            await socket.close(VIOLATION, "Too many questions wait.")
            return
        inbox.put_nowait(message)


async def _talk(socket: WebSocket, inbox: asyncio.Queue[Message]) -> None:
    """Answer one question after the other; each counts as a request."""
    again = False
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                message = await inbox.get()
        except TimeoutError:
            await socket.close(NORMAL, "No question for five minutes.")
            return
        try:
            asked = await _question(socket, message, again=again)
            await _answer(socket, asked, await _ready(socket, services_of(socket).answerer.get()))
        except DtRagError as error:
            await _tell_failure(socket, error)
            if isinstance(error, NotAuthenticated | NotAllowed):
                await socket.close(VIOLATION)
                return
        again = True


async def _question(socket: WebSocket, message: Message, *, again: bool) -> AnswerRequest:
    """What is asked, by whom, and with which flags.

    Args:
        again: whether the caller was let in for an earlier question.

    Raises:
        DtRagError: the message is no question, or the caller may not ask any more.
    """
    if again:
        socket.scope[KEY] = _exchange(socket)
        exchange_of(socket.scope).request_id = fresh_id()
        await _admit(socket)
    exchange = exchange_of(socket.scope)
    raw = _raw(message, services_of(socket).settings.MAX_BODY_BYTES)
    body = parse(raw, AnswerBody)
    known = body.value(request_id=exchange.request_id, caller=caller_of(socket), endpoint=ANSWER)
    return decided(socket, known)


def _raw(message: Message, most: int) -> bytes:
    text = message.get("text")
    if text is None:
        raise UnsupportedOperation("A question is a text message with JSON.")
    raw: bytes = text.encode("utf-8", "surrogatepass")
    if len(raw) > most:
        raise TooLarge(f"The message is larger than {most} bytes.")
    return raw


async def _answer(socket: WebSocket, asked: AnswerRequest, answerer: Answerer) -> None:
    """Send the events of a run; it is stopped when this is cancelled."""
    run = Run(uuid4().hex, owner="")
    filling = asyncio.create_task(
        run.fill(answerer.stream(asked), request_id=asked.request_id, ended=_ignore)
    )
    metrics.streams_open.inc()
    try:
        async for fresh in run.batches():
            for frame in fresh:
                await _send(socket, frame)
    finally:
        metrics.streams_open.dec()
        filling.cancel()
        (failure,) = await asyncio.gather(filling, return_exceptions=True)
    if isinstance(failure, Exception):
        log.error("socket.failed", request_id=asked.request_id, exc_info=failure)


async def _tell_failure(socket: WebSocket, error: DtRagError) -> None:
    request_id = exchange_of(socket.scope).request_id
    body = sse.failure(error, request_id=request_id, partial="")
    await _send(socket, sse.frame("error", body, frame_id=f"{request_id}.1"))


async def _send(socket: WebSocket, frame: bytes) -> None:
    async with asyncio.timeout(sse.SEND_TIMEOUT_S):
        await socket.send_text(sse.message(frame))


async def _ignore(_record: AnswerRecord | None) -> None:
    """No Idempotency-Key waits for the end."""
