"""Bodies of documents and jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from apps.api.schemas.base import NO_NUL, VISIBLE, Identifier, IsoDate, Name, Reply, Request
from apps.core.domain.models import JobState, Language

MAX_DOCUMENTS = 1000
DocId = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:-]+$")
]
Url = Annotated[
    str, StringConstraints(min_length=8, max_length=2048, pattern=r"^https?://[!-~]+$")
]


class DocumentBody(Request):
    """A text that is ready to be read."""

    id: DocId | None = Field(default=None, description="Given twice, the later one replaces.")
    title: Name
    text: Annotated[str, StringConstraints(min_length=1, pattern=VISIBLE)]
    source_url: Url | None = None
    tags: list[Identifier] = Field(default_factory=list, max_length=50)
    category: list[Identifier] = Field(
        default_factory=list, max_length=16, description="A path, e.g. ['ai','rag']."
    )
    language: Language | None = None
    date: IsoDate | None = None
    version: Annotated[str, StringConstraints(max_length=64, pattern=NO_NUL)] | None = None
    license: Annotated[str, StringConstraints(max_length=64, pattern=NO_NUL)] | None = None


class DocumentsBody(Request):
    """Texts given in the request itself."""

    documents: list[DocumentBody] = Field(min_length=1, max_length=MAX_DOCUMENTS)


class UrlBody(Request):
    """A page or file to fetch; private addresses are refused."""

    url: Url


class QueuedReply(Reply):
    """The job that does the work."""

    job_id: str


class JobItemReply(Reply):
    """What became of one file or text."""

    name: str
    state: str
    doc_ids: list[str]
    error_code: str | None
    error: str | None


class JobReply(Reply):
    """How far a job is; `progress` is the finished share, 0..1."""

    job_id: str
    kind: str
    state: JobState
    progress: float
    total: int
    finished: int
    counts: dict[str, int]
    items: list[JobItemReply]
    error_code: str | None
    error: str | None
    created_at: str
    updated_at: str


class DocumentSummaryReply(Reply):
    """A document without its text."""

    doc_id: str
    title: str
    language: Language
    format: str
    chars: int
    chunks: int
    source_url: str | None
    date: str | None
    version: str | None
    tags: list[str]
    category: list[str]
    created_at: str
    updated_at: str


class DocumentReply(DocumentSummaryReply):
    """A document with its text, in which citations count their offsets."""

    text: str
    checksum: str
    license: str | None


class DocumentPageReply(Reply):
    """Some of all documents, the newest first."""

    documents: list[DocumentSummaryReply]
    total: int
    limit: int
    offset: int


class SpanReply(Reply):
    """The text at [start, end) of a document."""

    doc_id: str
    start: int
    end: int
    text: str


class RemovedReply(Reply):
    """The document is gone from index and database."""

    doc_id: str
    deleted: bool
