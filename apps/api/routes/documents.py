"""Documents and the jobs that read them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.idempotency import once_only
from apps.api.operation import operation
from apps.api.ports import Intake
from apps.api.routes.answer import IDEMPOTENCY_KEY
from apps.api.schemas.documents import (
    DocumentPageReply,
    DocumentReply,
    JobReply,
    QueuedReply,
    RemovedReply,
    SpanReply,
)
from apps.api.services import services_of
from apps.api.uploads import REQUEST_BODY, Submission, read_submission
from apps.core.errors import NotFound

MAX_PLACE = 1_000_000_000
READ, WRITE = "search", "documents:write"
DocId = Annotated[str, Path(min_length=1, max_length=128)]
router = APIRouter(tags=["documents"])


@router.post(
    "/api/v1/documents",
    **operation(
        WRITE,
        "Add documents",
        reply=QueuedReply,
        status=202,
        errors=(400, 409, 413, 415, 422),
        extra={"requestBody": REQUEST_BODY, "parameters": [IDEMPOTENCY_KEY]},
    ),
)
async def add(
    request: Request, wait: Annotated[bool, Query(description="Until searchable.")] = False
) -> Response:
    """Queue files, texts or one URL; with `wait=true` answer 201 when they can be found."""
    raw, submission = await read_submission(request)
    intake = await services_of(request).intake.get()

    async def submit() -> Response:
        job_id = await _submit(intake, submission)
        if not wait:
            return render.json_response({"job_id": job_id}, status=202)
        job = await intake.finished(job_id)
        return render.json_response(render.job(job), status=201 if job.state == "done" else 202)

    return await once_only(request, f"documents?wait={wait}", raw, submit)


# FastAPI merges it into the declared replies; `operation` knows one success only.
router.routes[-1].responses[201] = {"model": JobReply, "description": "Searchable now."}  # type: ignore[attr-defined]


async def _submit(intake: Intake, submission: Submission) -> str:
    if submission.url is not None:
        return await intake.submit_url(submission.url)
    return await intake.submit(submission.items)


@router.get(
    "/api/v1/documents",
    **operation(READ, "List documents", reply=DocumentPageReply, errors=(422,)),
)
async def page(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[
        str | None, Query(max_length=128, description="`next` of the page before.")
    ] = None,
) -> Response:
    """In the order of their ids."""
    documents = (await services_of(request).stores.get()).documents
    total, found = await documents.page(limit=limit, after=after)
    body = {
        "documents": [render.document_summary(each) for each in found],
        "total": total,
        "next": found[-1].document.id if len(found) == limit else None,
    }
    return render.json_response(body)


@router.get(
    "/api/v1/documents/{doc_id}",
    **operation(READ, "One document with its text", reply=DocumentReply, errors=(404, 422)),
)
async def document(request: Request, doc_id: DocId) -> Response:
    """The stored text is masked; citations count their offsets in it."""
    found = await (await services_of(request).stores.get()).documents.get(doc_id)
    if found is None:
        raise NotFound("There is no such document.")
    return render.json_response(render.document(found))


@router.get(
    "/api/v1/documents/{doc_id}/spans",
    **operation(READ, "A span of a document's text", reply=SpanReply, errors=(404, 422)),
)
async def span(
    request: Request,
    doc_id: DocId,
    start: Annotated[int, Query(ge=0, le=MAX_PLACE)],
    end: Annotated[int, Query(ge=0, le=MAX_PLACE)],
) -> Response:
    """The text at [start, end), in the offsets that citations use, as far as there is any."""
    text = await (await services_of(request).stores.get()).documents.span(doc_id, start, end)
    if text is None:
        raise NotFound("There is no such document.")
    body = {"doc_id": doc_id, "start": start, "end": end, "text": text}
    return render.json_response(body)


@router.delete(
    "/api/v1/documents/{doc_id}",
    **operation(WRITE, "Delete a document", reply=RemovedReply, errors=(404, 409, 422)),
)
async def remove(request: Request, doc_id: DocId) -> Response:
    """After the reply, no search, answer or citation shows it."""
    intake = await services_of(request).intake.get()
    if not await intake.remove(doc_id):
        raise NotFound("There is no such document.")
    return render.json_response({"doc_id": doc_id, "deleted": True})


@router.get(
    "/api/v1/jobs/{job_id}",
    **operation(WRITE, "How far a job is", reply=JobReply, errors=(404, 422)),
)
async def job(
    request: Request, job_id: Annotated[str, Path(min_length=1, max_length=64)]
) -> Response:
    """State, progress, counts, and the reason of each failure."""
    found = await (await services_of(request).intake.get()).job(job_id)
    if found is None:
        raise NotFound("There is no such job.")
    return render.json_response(render.job(found))
