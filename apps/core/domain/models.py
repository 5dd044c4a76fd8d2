"""The words of the product, as frozen values that every room may use.

What every search makes is a named tuple: made, copied and hashed in a third of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from apps.core.domain.flags import Decisions, Exposed, FlagDecision

Language = Literal["ko", "en"]
SearchMode = Literal["hybrid", "lexical", "dense"]
AnswerMode = Literal["answer", "summary", "keypoints", "search"]
ServedBy = Literal["primary", "secondary", "cache", "extractive"]
AnswerOrigin = Literal["compose", "debate", "cache", "extractive"]
JobState = Literal["queued", "running", "done", "failed"]

SCOPES: tuple[str, ...] = (
    "search",
    "answer",
    "feedback",
    "documents:write",
    "flags:read",
    "flags:write",
    "flags:override",
    "index:write",
    "keys:write",
    "admin",
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document comes from; `date` is an ISO date (YYYY-MM-DD)."""

    title: str = ""
    url: str | None = None
    date: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: `text` equals the document's stored text at [start, end)."""

    chunk_id: str
    doc_id: str
    title: str
    text: str
    start: int
    end: int
    language: Language
    tags: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    source: Source = Source()


class Scores(NamedTuple):
    """What each leg said of a hit, min-max scaled over its candidates; None means silent."""

    lexical: float | None = None
    dense: float | None = None
    rerank: float | None = None


class Hit(NamedTuple):
    """A found passage; `highlights` are [start, end) offsets into the passage's own text."""

    passage: Passage
    score: float
    scores: Scores = Scores()
    highlights: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """Which passages may be seen at all; an empty tuple or None does not restrict.

    `canonical_in` lists category path prefixes: ("ai", "rag") admits ("ai", "rag", "search").
    Several values of one field are alternatives; several fields must all hold.
    Dates are inclusive ISO dates; a passage without a date is outside every date range.
    """

    doc_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    canonical_in: tuple[tuple[str, ...], ...] = ()
    language: Language | None = None
    date_from: str | None = None
    date_to: str | None = None

    @property
    def empty(self) -> bool:
        """Whether every passage may be seen."""
        if self is EVERYTHING:  # as most searches have it
            return True
        listed = self.doc_ids or self.tags or self.canonical_in
        return not listed and self.language is self.date_from is self.date_to is None


EVERYTHING = Filters()


class SearchQuery(NamedTuple):
    """A wish to find passages; None leaves the choice to flags and configuration.

    dense_weight: the dense leg's weight in a hybrid search, 0..1, as in `SearchOptions`.
    signals: whether the caller will look at what the legs felt, which costs a look at the passages.
    pool: only queries of the same pool share a cached result.
    """

    text: str
    top_k: int = 5
    mode: SearchMode | None = None
    filters: Filters = EVERYTHING
    min_score: float = 0.0
    rerank: bool | None = None
    dense_weight: float | None = None
    highlight: bool = False
    version: str | None = None
    signals: bool = True
    pool: str = ""


@dataclass(frozen=True, slots=True)
class SearchSignals:
    """What the legs felt, for abstention and routing; raw values, comparable within one index.

    lexical_top: best raw BM25 score, a passage's stems and its best window's pairs of syllables
        added; 0 when nothing matched.
    lexical_gap: first minus second best raw score.
    coverage: idf-weighted share of the question's tokens that the top three hits contain, 0..1.
    dense_top: best centred cosine, None without a dense leg.
    agreement: share of the top five of one leg that the other leg also has in its top ten.
    """

    lexical_top: float = 0.0
    lexical_gap: float = 0.0
    coverage: float = 0.0
    dense_top: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run consumed; costs are US dollars."""

    input_tokens: int = 0
    output_tokens: int = 0
    llm_calls: int = 0
    cost_usd: float = 0.0

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.llm_calls + other.llm_calls,
            self.cost_usd + other.cost_usd,
        )


class SearchResult(NamedTuple):
    """What was found in which index version, best first; `signals` only when they were wanted.

    usage: what a model consumed that had a say in the order; nothing when it comes from a cache.
    """

    hits: tuple[Hit, ...]
    total_candidates: int
    mode: SearchMode
    index_version: str
    language: Language
    cached: bool = False
    degraded: tuple[str, ...] = ()
    signals: SearchSignals = SearchSignals()
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document; `text` is already masked, `checksum` is SHA-256 of the masked text."""

    id: str
    title: str
    text: str
    checksum: str
    language: Language
    format: str
    source_url: str | None = None
    date: str | None = None
    version: str | None = None
    license: str | None = None
    tags: tuple[str, ...] = ()
    category: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `key_id` is None for a loopback caller without a key in development."""

    key_id: str | None
    scopes: frozenset[str]
    tenant: str = "default"

    def may(self, scope: str) -> bool:
        """Whether the caller holds `scope`; `admin` implies all."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class Citation:
    """A place that supports a sentence; `quote` is the document's text at `span`."""

    index: int
    chunk_id: str
    doc_id: str
    title: str
    quote: str
    span: tuple[int, int]
    source: Source
    score: float


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A question and how it should be answered; None leaves the choice to the service.

    `locale` and `endpoint` are for rules of flags, `overrides` what the header may and does ask of
    them; `synthetic` callers enter no statistics. `decisions` were made at the door; None: not yet.
    """

    question: str
    mode: AnswerMode = "answer"
    top_k: int = 5
    filters: Filters = Filters()
    language: Language | None = None
    session_id: str | None = None
    user_id: str | None = None
    timeout_s: float | None = None
    max_cost: float | None = None
    history: tuple[tuple[str, str], ...] = ()
    request_id: str = ""
    caller: Caller = field(default_factory=lambda: Caller(None, frozenset({"answer"})))
    locale: str | None = None
    endpoint: str | None = None
    overrides: Mapping[str, bool] = field(default_factory=dict)
    synthetic: bool = False
    decisions: Decisions | None = None


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """All that is known of a finished answer; `timings_ms` has `total` and one entry a node.

    `hits` are the passages that were offered to the answerer (the result itself in mode `search`).
    `trace` holds what agents wrote of themselves: keys `cases`, `plan`, `debate`, `tools`, `arm`.
    `key_id` names the API key that asked; None is a caller on this machine without one.
    `exposed` are the flags in an arm that this very run met.
    """

    answer_id: str
    request_id: str
    question_masked: str
    answer: str
    language: Language
    mode: AnswerMode
    grounded: bool
    confidence: float
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    abstained: bool
    reason: str | None
    decisions: Mapping[str, FlagDecision]
    nodes: tuple[str, ...]
    degraded: tuple[str, ...]
    served_by: ServedBy
    answer_origin: AnswerOrigin
    usage: Usage
    timings_ms: Mapping[str, float]
    index_version: str
    model: str | None
    created_at: float
    trace: Mapping[str, object] = field(default_factory=dict)
    key_id: str | None = None
    exposed: tuple[Exposed, ...] = ()
