"""Runs that go on without their caller: accept, look at, follow, cancel."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render, sse
from apps.api.admission import caller_of
from apps.api.bodies import whole_body
from apps.api.deciding import decided
from apps.api.exchange import exchange_of
from apps.api.idempotency import once_only
from apps.api.operation import operation
from apps.api.run_ports import KeptRuns
from apps.api.schemas.runs import AcceptedRunReply, RunReply
from apps.api.services import services_of
from apps.core.domain.models import AnswerRequest
from apps.core.errors import BusinessFailure, NotFound, StorageDown, Unprocessable

RUNS = "/api/v1/runs"
RETRY_S = 1.0
RunId = Annotated[str, Path(min_length=1, max_length=64)]
LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Only the events behind this one.",
}
ACCEPTED: dict[str, Any] = {
    "model": AcceptedRunReply,
    "description": "With `wait=false`: the answer is being made.",
    "headers": {
        "Location": {"schema": {"type": "string"}, "description": "Where the run is looked at."}
    },
}
"""What the page says of the reply of `accepted`."""
router = APIRouter(tags=["runs"])


async def accepted(request: Request, asked: AnswerRequest) -> Response:
    """Queue a question, with its flags decided now, and answer 202.

    Raises:
        StorageDown: the database is away.
    """
    runs = await _runs(request)

    async def submit() -> Response:
        run_id = await runs.accept(decided(request, asked))
        return render.json_response({"run_id": run_id}, status=202)

    try:
        response = await once_only(request, "answer?wait=False", await whole_body(request), submit)
    except StorageDown as error:
        raise StorageDown(error.detail, retry_after_s=error.retry_after_s or RETRY_S) from error
    run_id = orjson.loads(response.body)["run_id"]
    exchange_of(request.scope).header(b"location", f"{RUNS}/{run_id}")
    return response


def refuse_stream(request: Request, *, stream: bool) -> None:
    """See that a caller who does not wait does not want to read at once either.

    Raises:
        Unprocessable: the field or the header asks for events.
    """
    if sse.wanted(request, stream=stream):
        raise Unprocessable(
            f"wait=false has no stream: leave `stream` and `Accept: {sse.EVENT_STREAM}` out and "
            f"read {RUNS}/{{run_id}}/events."
        )


@router.get(
    "/api/v1/runs/{run_id}",
    **operation("answer", "How far a run is", reply=RunReply, errors=(404, 422)),
)
async def view(request: Request, run_id: RunId) -> Response:
    """State and progress; the answer when it is done, the problem when it is not to be.

    A run is kept for five minutes after its end; the answer stays at `/api/v1/answers/{run_id}`.
    """
    found = await (await _runs(request)).view(run_id, caller_of(request))
    return render.json_response(render.run(found))


@router.get(
    "/api/v1/runs/{run_id}/events",
    **operation(
        "answer",
        "The events of a run",
        errors=(404, 409, 422),
        extra={"parameters": [LAST_EVENT_ID]},
    ),
)
async def events(request: Request, run_id: RunId) -> Response:
    """The events of a streamed answer: those so far, then each as it comes, from any worker.

    Closing the connection stops nothing; `Last-Event-ID` goes on where a reader left.
    """
    last = request.headers.get("last-event-id")
    after = 0 if last is None else _place(last, run_id)
    told = await (await _runs(request)).follow(run_id, caller_of(request), after=after)
    return sse.EventStream(told, sse.nothing)


# FastAPI merges it into the declared reply.
router.routes[-1].responses[200] = {  # type: ignore[attr-defined]
    "content": {sse.EVENT_STREAM: {"schema": sse.EVENT_SCHEMA}},
    "description": "metadata, progress, data, then complete or error.",
}


@router.delete(
    "/api/v1/runs/{run_id}",
    **operation("answer", "Cancel a run", reply=RunReply, errors=(404, 422)),
)
async def cancel(request: Request, run_id: RunId) -> Response:
    """The model call is stopped, whichever worker makes it; a run that has ended keeps its end."""
    found = await (await _runs(request)).cancel(run_id, caller_of(request))
    return render.json_response(render.run(found))


async def _runs(request: Request) -> KeptRuns:
    return (await services_of(request).stores.get()).runs


def _place(last_event_id: str, run_id: str) -> int:
    of_run, _, number = last_event_id.rpartition(".")
    if not (number.isascii() and number.isdecimal()):
        raise NotFound("Last-Event-ID names no event of a run.")
    if of_run != run_id:
        raise BusinessFailure("Last-Event-ID belongs to another run.")
    return int(number)
