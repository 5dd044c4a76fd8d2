"""Answers: at once as JSON, or as they come as server-sent events."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine
from typing import Annotated, Any, TypeVar
from uuid import uuid4

import orjson
from fastapi import APIRouter, Path, Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from apps.api import render, sse
from apps.api.admission import caller_of
from apps.api.bodies import read_json, whole_body
from apps.api.deciding import EFFECTIVE, PARAMETERS, decided
from apps.api.exchange import Exchange, exchange_of
from apps.api.idempotency import LOCAL_CALLER, Claim, claim, remembered
from apps.api.operation import operation
from apps.api.ports import Answerer
from apps.api.routes.runs import ACCEPTED, accepted, refuse_stream
from apps.api.runs import Run
from apps.api.schemas.answer import AnswerBody, AnswerReply, StoredAnswerReply
from apps.api.services import Services, services_of
from apps.api.store_ports import Remembered
from apps.core.domain.models import AnswerRecord, AnswerRequest
from apps.core.errors import NotFound

T = TypeVar("T")
ROUTE = "answer"
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "The same key and body have one result for 24 hours; an answer is given "
    "without that promise while the database is away.",
}
LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Resumes a stream within five minutes; nothing else takes notice of it.",
}
ANSWER = operation(
    "answer",
    "Answer a question with citations",
    body=AnswerBody,
    reply=AnswerReply,
    errors=(404, 409, 502),
    examples={
        "한국어": {"question": "딥러닝의 주요 개념은?", "mode": "answer"},
        "English": {"query": "What is fusion?", "mode": "keypoints", "final_topk": 5},
        "streamed": {"question": "What is fusion?", "stream": True},
    },
    extra={"parameters": [IDEMPOTENCY_KEY, LAST_EVENT_ID, *PARAMETERS]},
)
# What the page says of a stream; FastAPI merges it into the reply above.
ANSWER["responses"][200] = {
    "content": {sse.EVENT_STREAM: {"schema": sse.EVENT_SCHEMA}},
    "description": "The answer, or its events: metadata, progress, data, then complete or error.",
}
ANSWER["responses"][202] = ACCEPTED
router = APIRouter(tags=["answer"])


@router.post("/api/v1/pipeline/execute", **ANSWER)
@router.post("/api/v1/answer", **ANSWER)
@router.post("/answer", **ANSWER)
async def answer(
    request: Request,
    wait: Annotated[
        bool, Query(description="`false`: reply 202 at once; the answer is made as a run.")
    ] = True,
) -> Response:
    """Answer from the passages; every `[n]` in the text has a citation with an exact quote.

    When the passages say nothing, `abstained` is true. `stream: true` or
    `Accept: text/event-stream` sends events instead of one body. With `wait=false` the answer is
    made without the caller: `/api/v1/runs/{run_id}` tells how far it is. The WebSocket
    `/ws/answer` takes the same body as one text message and sends the same events.
    """
    body = await read_json(request, AnswerBody)
    services, exchange = services_of(request), exchange_of(request.scope)
    known = body.value(request_id=exchange.request_id, caller=caller_of(request), endpoint=ROUTE)
    if not wait:
        refuse_stream(request, stream=body.stream)
        return await accepted(request, known)
    asked = decided(request, known)
    streamed = sse.wanted(request, stream=body.stream)
    answerer = await services.answerer.get()
    if streamed and "last-event-id" in request.headers:
        return await _resumed(request, answerer, asked)
    claimed = await claim(request, ROUTE, raw=await whole_body(request), needed=False)
    if claimed is not None and claimed.earlier is not None:
        return _again(claimed.earlier, exchange, streamed=streamed)
    if streamed:
        run = Run(uuid4().hex, owner=await _owner(request))
        services.runs.add(run)
        return _stream(run, 0, answerer=answerer, asked=asked, claimed=claimed)
    return await _whole(request, answerer, asked, claimed)


async def _whole(
    request: Request, answerer: Answerer, asked: AnswerRequest, claimed: Claim | None
) -> Response:
    exchange = exchange_of(request.scope)
    try:
        record = await _unless_gone(request, answerer.answer(asked))
    except BaseException:
        if claimed is not None:
            await claimed.drop()
        raise
    exchange.header(b"x-dtrag-index", record.index_version)
    exchange.timings_ms.extend(
        (name, spent) for name, spent in record.timings_ms.items() if name != "total"
    )
    exchange.cached = record.served_by == "cache"
    response = render.json_response(render.answer(record))
    if claimed is not None:
        await claimed.keep(200, bytes(response.body))
    return response


def _stream(
    run: Run, after: int, *, answerer: Answerer, asked: AnswerRequest, claimed: Claim | None
) -> Response:
    async def ended(record: AnswerRecord | None) -> None:
        if claimed is None:
            return
        if record is None:
            await claimed.drop()
        else:
            await claimed.keep(200, orjson.dumps(render.answer(record)))

    async def work() -> None:
        if not run.over:
            events = answerer.stream(asked, streaming=True)
            await run.fill(events, request_id=asked.request_id, ended=ended)

    return sse.EventStream(run.chunks(after), work)


async def _resumed(request: Request, answerer: Answerer, asked: AnswerRequest) -> Response:
    runs = services_of(request).runs
    last = request.headers["last-event-id"]
    run, after = runs.resume(last, owner=await _owner(request))
    return _stream(run, after, answerer=answerer, asked=asked, claimed=None)


def _again(earlier: Remembered, exchange: Exchange, *, streamed: bool) -> Response:
    body = orjson.loads(earlier.body)
    # An earlier answer came about by the flags of its time.
    exchange.header(EFFECTIVE, render.flags_header(body["decision"]["flags"]))
    if not streamed:
        return remembered(earlier)

    async def chunks() -> AsyncIterator[bytes]:
        for number, (name, part) in enumerate(
            (("data", {"text": body["answer"]}), ("complete", body)), start=1
        ):
            yield sse.frame(name, part, frame_id=f"{body['answer_id']}.{number}")

    return sse.EventStream(chunks(), sse.nothing)


async def _owner(request: Request) -> str:
    digest = hashlib.sha256(await whole_body(request)).hexdigest()
    return f"{caller_of(request).key_id or LOCAL_CALLER}:{digest}"


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, but stop when the caller hangs up."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


@router.get(
    "/api/v1/answers/{answer_id}",
    **operation("answer", "An answer as it was sent", reply=StoredAnswerReply, errors=(404, 422)),
)
async def stored(
    request: Request, answer_id: Annotated[str, Path(min_length=1, max_length=128)]
) -> Response:
    """The stored record, with what people said of it."""
    return render.json_response(await _stored(services_of(request), answer_id))


async def _stored(services: Services, answer_id: str) -> render.Json:
    answers = (await services.stores.get()).answers
    body = await answers.find(answer_id)
    if body is None:
        raise NotFound("There is no such answer.")
    said = await answers.opinions(answer_id)
    rewards = [each.reward for each in said]
    mean = sum(rewards) / len(rewards) if rewards else None
    feedback = [render.opinion(each) for each in said]
    return {**body, "feedback": feedback, "reward": {"feedback": mean}}
