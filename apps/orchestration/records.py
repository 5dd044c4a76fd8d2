"""How a run begins and ends as a value: the first state, and the record of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from apps.core.domain.models import AnswerRecord, AnswerRequest, SearchSignals, Usage
from apps.core.flags.evaluation import Evaluation, span_facts
from apps.core.telemetry import traces
from apps.orchestration.state import AnswerState


@dataclass(frozen=True, slots=True)
class Begun:
    """What is known when a run begins; times are `clock.monotonic()` seconds."""

    request: AnswerRequest
    answer_id: str
    evaluation: Evaluation
    started_s: float
    deadline: float
    streaming: bool

    @property
    def on(self) -> frozenset[str]:
        """Keys of the flags that are on."""
        return self.evaluation.on


def trace_beginning(begun: Begun) -> None:
    """Tell the request's span who asks, by pseudonym, and what was decided.

    Names are those of OpenTelemetry's conventions for feature flags, without the targeting key.
    """
    span, request = traces.current(), begun.request
    if not span.recorded:
        return
    for name, value in (("user_id", request.user_id), ("session_id", request.session_id)):
        if value:
            span.note({f"dtrag.{name}_pseudonym": span.pseudonym(value)})
    for key, decision in begun.evaluation.items():
        span.event("feature_flag.evaluation", span_facts(key, decision))


def trace_end(record: AnswerRecord) -> None:
    """Tell the request's span what came of it."""
    span = traces.current()
    if not span.recorded:
        return
    span.note(
        {
            "dtrag.answer.served_by": record.served_by,
            "dtrag.answer.abstained": record.abstained,
            "dtrag.answer.citations": len(record.citations),
            "dtrag.answer.degraded": ",".join(record.degraded),
            "gen_ai.usage.input_tokens": record.usage.input_tokens,
            "gen_ai.usage.output_tokens": record.usage.output_tokens,
        }
    )


def initial(begun: Begun, index_version: str) -> AnswerState:
    """Fill every key; whoever has nothing to say leaves it as it is."""
    request = begun.request
    return {
        "question": request.question,
        "language_wanted": request.language,
        "mode": request.mode,
        "top_k": request.top_k,
        "filters": request.filters,
        "history": request.history,
        "decisions": dict(begun.evaluation),
        "language": request.language or "en",
        "question_masked": "",
        "smalltalk": None,
        "search": None,
        "hits": (),
        "signals": SearchSignals(),
        "index_version": index_version,
        "draft": "",
        "preface": "",
        "prior": 1.0,
        "answer_origin": "extractive",
        "served_by": "extractive",
        "model": None,
        "answer": "",
        "citations": (),
        "confidence": 0.0,
        "abstained": False,
        "reason": None,
        "degraded": [],
        "nodes": [],
        "usage": Usage(),
        "trace": {},
    }


def made(
    begun: Begun, state: AnswerState, *, timings_ms: Mapping[str, float], now: float
) -> AnswerRecord:
    """Describe an answer that the graph made."""
    return AnswerRecord(
        answer_id=begun.answer_id,
        request_id=begun.request.request_id,
        question_masked=state["question_masked"],
        answer=state["answer"],
        language=state["language"],
        mode=begun.request.mode,
        grounded=bool(state["citations"]),
        confidence=state["confidence"],
        citations=state["citations"],
        hits=state["hits"],
        abstained=state["abstained"],
        reason=state["reason"],
        decisions=begun.evaluation.decisions,
        nodes=tuple(state["nodes"]),
        degraded=tuple(state["degraded"]),
        served_by=state["served_by"],
        answer_origin=state["answer_origin"],
        usage=state["usage"],
        timings_ms=timings_ms,
        index_version=state["index_version"],
        model=state["model"],
        created_at=now,
        trace=state["trace"],
        key_id=begun.request.caller.key_id,
    )


def again(
    begun: Begun, known: AnswerRecord, *, timings_ms: Mapping[str, float], now: float
) -> AnswerRecord:
    """Describe an answer from the cache: the same text, an id and times of its own, no cost."""
    cache = {"age_s": max(0.0, now - known.created_at), "index_version": known.index_version}
    return replace(
        known,
        answer_id=begun.answer_id,
        request_id=begun.request.request_id,
        decisions=begun.evaluation.decisions,
        exposed=(),
        nodes=(),
        served_by="cache",
        answer_origin="cache",
        usage=Usage(),
        timings_ms=timings_ms,
        created_at=now,
        trace={"cache": cache},
        key_id=begun.request.caller.key_id,
    )
