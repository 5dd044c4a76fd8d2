"""Bodies of answers and feedback."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AliasChoices, ConfigDict, Field, StringConstraints, model_validator

from apps.api.schemas.base import NO_NUL, VISIBLE, WHOLE, Identifier, Reply, Request, either_name
from apps.api.schemas.search import FiltersBody, SourceReply
from apps.core.domain.limits import MAX_QUESTION_CHARS
from apps.core.domain.models import (
    AnswerMode,
    AnswerRequest,
    Caller,
    Filters,
    Language,
    ServedBy,
)


class AnswerBody(Request):
    """A question that wants a cited answer."""

    model_config = ConfigDict(
        json_schema_extra=either_name(question=("q", "query"), final_topk=("max_results",))
    )

    question: Annotated[
        str, StringConstraints(min_length=1, max_length=MAX_QUESTION_CHARS, pattern=VISIBLE)
    ] = Field(validation_alias=AliasChoices("question", "q", "query"))
    mode: AnswerMode = "answer"
    final_topk: Annotated[int, Field(ge=1, le=20), WHOLE] = Field(
        default=5, validation_alias=AliasChoices("final_topk", "max_results")
    )
    filters: FiltersBody | None = None
    stream: bool = Field(
        default=False, description="Server-sent events; `Accept: text/event-stream` does the same."
    )
    session_id: Identifier | None = None
    user_id: Identifier | None = None
    language: Language | None = None
    timeout_s: float | None = Field(default=None, gt=0, le=600)
    max_cost: float | None = Field(default=None, ge=0, le=1000, description="US dollars.")

    def value(
        self, *, request_id: str, caller: Caller, endpoint: str | None = None
    ) -> AnswerRequest:
        """The same as a word of the domain."""
        return AnswerRequest(
            question=self.question,
            mode=self.mode,
            top_k=self.final_topk,
            filters=self.filters.value() if self.filters else Filters(),
            language=self.language,
            session_id=self.session_id,
            user_id=self.user_id,
            timeout_s=self.timeout_s,
            max_cost=self.max_cost,
            request_id=request_id,
            caller=caller,
            endpoint=endpoint,
        )


class CitationReply(Reply):
    """A place that supports a sentence; `quote` is the document's text at `span`."""

    index: int
    chunk_id: str
    doc_id: str
    title: str
    quote: str
    span: tuple[int, int]
    source: SourceReply
    score: float


class SourceEntry(SourceReply):
    """A cited document."""

    doc_id: str


class DecisionReply(Reply):
    """How the answer came about: flags, nodes, and what each agent wrote of itself."""

    flags: dict[str, dict[str, Any]]
    arm: dict[str, Any] | None
    nodes: list[str]
    cases: list[Any]
    plan: Any
    debate: Any
    tools: list[Any]


class UsageReply(Reply):
    """What the answer consumed."""

    input_tokens: int
    output_tokens: int
    llm_calls: int
    cost_usd: float


class AnswerReply(Reply):
    """A cited answer that explains itself."""

    answer_id: str
    answer: str
    language: Language
    mode: AnswerMode
    grounded: bool
    confidence: float
    citations: list[CitationReply]
    sources: list[SourceEntry]
    source_count: int
    abstained: bool
    reason: str | None
    decision: DecisionReply
    degraded: list[str]
    served_by: ServedBy
    answer_origin: str
    usage: UsageReply
    timings_ms: dict[str, float]
    latency_ms: float
    index_version: str
    request_id: str
    model: str | None
    timestamp: str
    hits: list[Any] | None = Field(
        default=None, description="Only in mode `search`: the passages that were found."
    )


class FeedbackEntry(Reply):
    """One opinion about an answer."""

    reward: float
    rating: int | None
    thumbs_up: bool | None
    comment: str | None
    labels: list[str]
    created_at: str


class RewardReply(Reply):
    """Reward parts that were measured; null where nothing was."""

    feedback: float | None


class StoredAnswerReply(AnswerReply):
    """An answer as it was sent, with what people said of it since."""

    feedback: list[FeedbackEntry]
    reward: RewardReply


Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NO_NUL)]


class FeedbackBody(Request):
    """An opinion: at least one of `rating`, `thumbs_up` and `reward`."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in ("rating", "thumbs_up", "reward")
            ]
        }
    )

    answer_id: Identifier
    rating: Annotated[int, Field(ge=1, le=5), WHOLE] | None = None
    thumbs_up: bool | None = None
    reward: Annotated[float, Field(ge=-1, le=1)] | None = None
    comment: Annotated[str, StringConstraints(max_length=4000, pattern=NO_NUL)] | None = None
    labels: list[Label] = Field(default_factory=list, max_length=20)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.rating is None and self.thumbs_up is None and self.reward is None:
            raise ValueError("one of rating, thumbs_up and reward is needed")
        return self

    def reward_value(self) -> float:
        """One number in -1..1: the reward, else (rating - 3) / 2, else the thumb."""
        if self.reward is not None:
            return float(self.reward)
        if self.rating is not None:
            return (self.rating - 3) / 2
        return 1.0 if self.thumbs_up else -1.0


class AcceptedReply(Reply):
    """The opinion is stored."""

    accepted: bool
