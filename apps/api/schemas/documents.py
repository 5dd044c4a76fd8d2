"""Bodies of documents and jobs."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from apps.api.schemas.base import NO_NUL, VISIBLE, Identifier, IsoDate, Name, Reply, Request
from apps.core.domain.models import JobState, Language

MAX_DOCUMENTS = 1000
MAX_FIELD_CHARS = 2000
# Ids that are made of file names have Hangul too, and their owner may name them here.
DocId = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9가-힣._:-]+$")
]
Url = Annotated[str, StringConstraints(min_length=8, max_length=2048, pattern=r"^https?://[!-~]+$")]


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


class IntakeBody(Request):
    """Texts given in the request itself, or the address of a page or file to fetch."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["documents"], "properties": {"documents": {"type": "array"}}},
                {"required": ["url"], "properties": {"url": {"type": "string"}}},
            ]
        }
    )

    documents: list[DocumentBody] | None = Field(
        default=None, min_length=1, max_length=MAX_DOCUMENTS
    )
    url: Url | None = Field(default=None, description="Private addresses are refused.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.documents is None) == (self.url is None):
            raise ValueError("either documents or url is needed")
        return self


class FormFields(Request):
    """What may stand beside the files of a form; it holds for each of them."""

    tags: Annotated[str, StringConstraints(max_length=MAX_FIELD_CHARS, pattern=NO_NUL)] = ""
    category: Annotated[str, StringConstraints(max_length=MAX_FIELD_CHARS, pattern=NO_NUL)] = ""
    language: Language | None = None
    date: IsoDate | None = None

    def tag_list(self) -> tuple[str, ...]:
        """The tags, which are separated by commas."""
        return tuple(tag.strip()[:128] for tag in self.tags.split(",") if tag.strip())

    def category_path(self) -> tuple[str, ...]:
        """The category's path, whose parts are separated by slashes."""
        return tuple(part.strip()[:128] for part in self.category.split("/") if part.strip())


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
    attempts: int
    counts: dict[str, int]
    items: list[JobItemReply]
    error_code: str | None
    error: str | None
    created_at: str
    updated_at: str


class DocumentBase(Reply):
    """What is known of a document."""

    doc_id: str
    title: str
    language: Language
    format: str
    source_url: str | None
    date: str | None
    version: str | None
    license: str | None
    tags: list[str]
    category: list[str]
    checksum: str = Field(description="SHA-256 of the masked text.")
    chars: int


class DocumentSummaryReply(DocumentBase):
    """A document without its text."""

    chunks: int
    created_at: str
    updated_at: str


class DocumentReply(DocumentBase):
    """A document with its text, in which citations count their offsets."""

    text: str


class DocumentPageReply(Reply):
    """Some of all documents; `next` is the `after` of the next page, null on the last one."""

    documents: list[DocumentSummaryReply]
    total: int
    next: str | None


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
