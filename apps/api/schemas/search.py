"""Bodies of search and batch search."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, ConfigDict, Field, StringConstraints

from apps.api.schemas.base import (
    VISIBLE,
    WHOLE,
    Identifier,
    IsoDate,
    Problem,
    Reply,
    Request,
    either_name,
)
from apps.core.domain.limits import MAX_QUERY_CHARS
from apps.core.domain.models import EVERYTHING, Filters, Language, SearchMode, SearchQuery

MAX_TOP_K = 50
MAX_VALUES = 100
QueryText = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_QUERY_CHARS, pattern=VISIBLE)
]
TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K), WHOLE]


class FiltersBody(Request):
    """Which passages may be seen; values of one field are alternatives, fields must all hold."""

    doc_id: list[Identifier] = Field(default_factory=list, max_length=MAX_VALUES)
    tags: list[Identifier] = Field(default_factory=list, max_length=MAX_VALUES)
    canonical_in: list[Annotated[list[Identifier], Field(min_length=1, max_length=16)]] = Field(
        default_factory=list,
        max_length=MAX_VALUES,
        description="Category path prefixes, e.g. [['ai','rag']].",
    )
    language: Language | None = None
    date_from: IsoDate | None = None
    date_to: IsoDate | None = None

    def value(self) -> Filters:
        """The same as a word of the domain."""
        return Filters(
            doc_ids=tuple(self.doc_id),
            tags=tuple(self.tags),
            canonical_in=tuple(tuple(path) for path in self.canonical_in),
            language=self.language,
            date_from=self.date_from,
            date_to=self.date_to,
        )


class SearchOptions(Request):
    """How to search; shared by single and batch search."""

    final_topk: TopK = Field(default=5, validation_alias=AliasChoices("final_topk", "max_results"))
    mode: SearchMode | None = Field(
        default=None, description="null leaves the choice to flags and configuration."
    )
    filters: FiltersBody | None = None
    min_score: float = Field(default=0.0, ge=0, le=1)
    rerank: bool | None = None
    highlight: bool = False
    index: Identifier | None = Field(
        default=None, description="An index version; needs the scope `admin`."
    )
    user_id: Identifier | None = Field(
        default=None, description="Whom flags and rollouts take this for; never stored as it is."
    )
    session_id: Identifier | None = Field(default=None, description="As `user_id`, without one.")


class SearchBody(SearchOptions):
    """A question to the index."""

    model_config = ConfigDict(
        json_schema_extra=either_name(q=("query",), final_topk=("max_results",))
    )

    q: QueryText = Field(validation_alias=AliasChoices("q", "query"))

    def value(self) -> SearchQuery:
        """The same as a word of the domain."""
        return SearchQuery(
            text=self.q,
            top_k=self.final_topk,
            mode=self.mode,
            filters=self.filters.value() if self.filters else EVERYTHING,
            min_score=self.min_score,
            rerank=self.rerank,
            highlight=self.highlight,
            version=self.index,
            signals=False,
        )


class BatchBody(SearchOptions):
    """Up to fifty questions with shared options; an object overrides them for itself."""

    model_config = ConfigDict(json_schema_extra=either_name(final_topk=("max_results",)))

    queries: list[str | dict[str, Any]] = Field(
        min_length=1,
        max_length=50,
        description="Strings, or bodies of a single search. A faulty one becomes an error entry.",
    )


class SourceReply(Reply):
    """Where a document comes from."""

    url: str | None
    title: str
    date: str | None
    version: str | None


class ScoresReply(Reply):
    """What each leg said, 0..1 over its candidates; null means that it was silent."""

    lexical: float | None
    dense: float | None
    rerank: float | None


class HitReply(Reply):
    """A found passage; `span` is its place in the document, `highlights` places in `text`."""

    chunk_id: str
    doc_id: str
    score: float
    text: str
    title: str
    span: tuple[int, int]
    source: SourceReply
    tags: list[str]
    scores: ScoresReply
    highlights: list[tuple[int, int]]


class SearchReply(Reply):
    """What was found in which index version, best first."""

    hits: list[HitReply]
    total_candidates: int
    latency_ms: float
    latency: float = Field(description="The same in seconds.")
    request_id: str
    index_version: str
    mode: SearchMode
    cached: bool
    language: Language
    degraded: list[str] = Field(description="What could not take part, e.g. a silent leg.")


class BatchErrorReply(Reply):
    """The place of a question that could not be searched."""

    error: Problem


class BatchReply(Reply):
    """One entry a question, in the order of the request."""

    results: list[SearchReply | BatchErrorReply]
    request_id: str
    latency_ms: float
