"""AnswerState: what travels from node to node, who writes it, and how writes merge."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Annotated, TypedDict, cast, get_origin, get_type_hints

from apps.core.domain.flags import FlagDecision
from apps.core.domain.models import (
    AnswerMode,
    AnswerOrigin,
    Citation,
    Filters,
    Hit,
    Language,
    SearchQuery,
    SearchSignals,
    ServedBy,
    Usage,
)


def keep_first(left: list[str], right: list[str]) -> list[str]:
    """Join two lists of names without repeating one."""
    return [*left, *(name for name in right if name not in left)]


def add_usage(left: Usage, right: Usage) -> Usage:
    """Sum what the nodes consumed."""
    return left.plus(right)


def merge(left: Mapping[str, object], right: Mapping[str, object]) -> dict[str, object]:
    """Join two records; what was written later wins."""
    return {**left, **right}


class AnswerState(TypedDict):
    """Each key with its writer in brackets. Every key is present from the start of a run."""

    # [pipeline] what was asked
    question: str
    language_wanted: Language | None
    mode: AnswerMode
    top_k: int
    filters: Filters
    history: tuple[tuple[str, str], ...]
    decisions: dict[str, FlagDecision]
    # [understand]
    language: Language
    question_masked: str
    smalltalk: str | None  # greeting | thanks | identity: answered without retrieval
    # [soft_q_bandit, meta_planner] how to retrieve; None = the baseline's choice
    search: SearchQuery | None
    # [retrieve]
    hits: tuple[Hit, ...]
    signals: SearchSignals
    index_version: str
    # [compose, debate_mode] the draft: sentences that end in [n], n = place in `hits`, 1 is first;
    # empty = nothing to say. The preface is a fixed message that stands before it, the prior how
    # probable it was, before writing, that the passages answer.
    draft: str
    preface: str
    prior: float
    answer_origin: AnswerOrigin
    served_by: ServedBy
    model: str | None
    # [cite] what the caller gets
    answer: str
    citations: tuple[Citation, ...]
    confidence: float
    abstained: bool
    reason: str | None
    # [every node] merged
    degraded: Annotated[list[str], keep_first]
    nodes: Annotated[list[str], operator.add]
    usage: Annotated[Usage, add_usage]
    trace: Annotated[dict[str, object], merge]


HINTS = get_type_hints(AnswerState, include_extras=True)
MERGED = {key: hint.__metadata__[0] for key, hint in HINTS.items() if get_origin(hint) is Annotated}


class Update(TypedDict, total=False):
    """The keys of AnswerState that a node changes; it returns only those."""

    language: Language
    question_masked: str
    smalltalk: str | None
    search: SearchQuery | None
    hits: tuple[Hit, ...]
    signals: SearchSignals
    index_version: str
    draft: str
    preface: str
    prior: float
    answer_origin: AnswerOrigin
    served_by: ServedBy
    model: str | None
    answer: str
    citations: tuple[Citation, ...]
    confidence: float
    abstained: bool
    reason: str | None
    degraded: list[str]
    nodes: list[str]
    usage: Usage
    trace: dict[str, object]


def updated(state: AnswerState, update: Update) -> AnswerState:
    """The state after a node: merged keys are joined, all others replaced.

    The first write of a run is the whole state, onto an empty one.
    """
    after: dict[str, object] = {**state, **update}
    for key, value in update.items():
        if key in MERGED and key in state:
            after[key] = MERGED[key](cast("dict[str, object]", state)[key], value)
    return cast("AnswerState", after)
