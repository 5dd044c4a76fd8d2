"""Domain values as the JSON that the contract promises; plain dictionaries for orjson."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import orjson
from starlette.responses import Response

from apps.api.run_ports import RunView
from apps.api.store_ports import DocumentSummary, KeyDetails, Opinion
from apps.core.domain.flags import Decisions
from apps.core.domain.models import AnswerRecord, Citation, Document, Hit, SearchResult, Source
from apps.core.flags.evaluation import decision_json
from apps.ingestion.items import JobView

JSON_TYPE = "application/json"
Json = dict[str, object]


def json_response(body: object, *, status: int = 200) -> Response:
    """Encoded once, so that the framework neither validates nor encodes again."""
    return JsonResponse(orjson.dumps(body), status)


class JsonResponse(Response):
    """Bytes of JSON and the two headers that they need.

    In place of the general constructor, which costs as much as encoding a search.
    """

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", JSON_TYPE.encode()),
        ]


def hit(found: Hit) -> Json:
    """One found passage."""
    passage, scores = found.passage, found.scores
    return {
        "chunk_id": passage.chunk_id,
        "doc_id": passage.doc_id,
        "score": found.score,
        "text": passage.text,
        "title": passage.title,
        "span": (passage.start, passage.end),
        "source": source(passage.source),
        "tags": passage.tags,
        "scores": {
            "lexical": scores.lexical,
            "dense": scores.dense,
            "rerank": scores.rerank,
        },
        "highlights": found.highlights,
    }


def source(value: Source) -> Json:
    """Where a document comes from."""
    return {
        "url": value.url,
        "title": value.title,
        "date": value.date,
        "version": value.version,
    }


def search(result: SearchResult, *, request_id: str, spent_ms: float) -> Json:
    """A search's whole body."""
    return {
        "hits": [hit(found) for found in result.hits],
        "total_candidates": result.total_candidates,
        "latency_ms": spent_ms,
        "latency": spent_ms / 1000,
        "request_id": request_id,
        "index_version": result.index_version,
        "mode": result.mode,
        "cached": result.cached,
        "language": result.language,
        "degraded": result.degraded,
    }


def answer(record: AnswerRecord) -> Json:
    """An answer's whole body."""
    cited = sources(record.citations)
    body: Json = {
        "answer_id": record.answer_id,
        "answer": record.answer,
        "language": record.language,
        "mode": record.mode,
        "grounded": record.grounded,
        "confidence": record.confidence,
        "citations": [citation(each) for each in record.citations],
        "sources": cited,
        "source_count": len(cited),
        "abstained": record.abstained,
        "reason": record.reason,
        "decision": decision(record),
        "degraded": record.degraded,
        "served_by": record.served_by,
        "answer_origin": record.answer_origin,
        "usage": record.usage,
        "timings_ms": dict(record.timings_ms),
        "latency_ms": record.timings_ms.get("total", 0.0),
        "index_version": record.index_version,
        "request_id": record.request_id,
        "model": record.model,
        "timestamp": timestamp(record.created_at),
    }
    if record.mode == "search":
        body["hits"] = [hit(found) for found in record.hits]
    return body


def citation(value: Citation) -> Json:
    """One supporting place."""
    return {
        "index": value.index,
        "chunk_id": value.chunk_id,
        "doc_id": value.doc_id,
        "title": value.title,
        "quote": value.quote,
        "span": value.span,
        "source": source(value.source),
        "score": value.score,
    }


def sources(citations: Iterable[Citation]) -> list[Json]:
    """The cited documents, each once, the best score first."""
    best: dict[str, Citation] = {}
    for each in citations:
        if each.doc_id not in best or each.score > best[each.doc_id].score:
            best[each.doc_id] = each
    ranked = sorted(best.values(), key=lambda each: -each.score)
    return [{"doc_id": each.doc_id, **source(each.source)} for each in ranked]


def decision(record: AnswerRecord) -> Json:
    """How the answer came about."""
    trace = record.trace
    return {
        "flags": flags(record.decisions),
        "arm": trace.get("arm"),
        "nodes": record.nodes,
        "cases": trace.get("cases", ()),
        "plan": trace.get("plan"),
        "debate": trace.get("debate"),
        "tools": trace.get("tools", ()),
    }


def flags(decisions: Decisions) -> Json:
    """What each flag was, by which layer and why; what is not known is left out."""
    return {key: decision_json(made) for key, made in decisions.items()}


def flags_header(shown: Mapping[str, Mapping[str, object]]) -> str:
    """What `flags` made, as one header line, e.g. `debate_mode=on;mcp_tools=off`."""
    return ";".join(f"{key}={'on' if made['on'] else 'off'}" for key, made in shown.items())


def opinion(value: Opinion) -> Json:
    """What somebody said of an answer."""
    return {
        "reward": value.reward,
        "rating": value.rating,
        "thumbs_up": value.thumbs_up,
        "comment": value.comment,
        "labels": value.labels,
        "created_at": timestamp(value.created_at),
    }


def document_summary(value: DocumentSummary) -> Json:
    """A document without its text."""
    return {
        **_document(value.document),
        "chars": value.chars,
        "chunks": value.chunks,
        "created_at": timestamp(value.created_at),
        "updated_at": timestamp(value.updated_at),
    }


def document(value: Document) -> Json:
    """A document with its text."""
    return {**_document(value), "chars": len(value.text), "text": value.text}


def _document(value: Document) -> Json:
    return {
        "doc_id": value.id,
        "title": value.title,
        "language": value.language,
        "format": value.format,
        "source_url": value.source_url,
        "date": value.date,
        "version": value.version,
        "license": value.license,
        "tags": value.tags,
        "category": value.category,
        "checksum": value.checksum,
    }


def job(value: JobView) -> Json:
    """How far a job is, and why parts of it failed."""
    over = value.state in {"done", "failed"}
    return {
        "job_id": value.id,
        "kind": value.kind,
        "state": value.state,
        "progress": value.finished / value.total if value.total else float(over),
        "total": value.total,
        "finished": value.finished,
        "attempts": value.attempts,
        "counts": dict(value.counts),
        "items": value.items,
        "error_code": value.error_code,
        "error": value.error,
        "created_at": timestamp(value.created_at),
        "updated_at": timestamp(value.updated_at),
    }


def key(value: KeyDetails) -> Json:
    """A key without its secret."""
    return {
        "id": value.id,
        "name": value.name,
        "scopes": sorted(value.scopes),
        "tenant": value.tenant,
        "allowed_ips": list(value.allowed_ips),
        "rate_limit": value.rate_limit_per_minute,
        "quota": value.quota_per_day,
        "expires_at": _maybe(value.expires_at),
        "revoked_at": _maybe(value.revoked_at),
        "rotated_from": value.rotated_from,
        "created_at": timestamp(value.created_at),
        "last_used_at": _maybe(value.last_used_at),
    }


def _maybe(at: float | None) -> str | None:
    return None if at is None else timestamp(at)


def timestamp(at: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC."""
    second, micros = divmod(round(at * 1e6), 1_000_000)
    return f"{_second(second)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def run(value: RunView) -> Json:
    """How far a run is, and what came of it."""
    return {
        "run_id": value.id,
        "state": value.state,
        "progress": value.progress,
        "answer": value.answer,
        "problem": value.problem,
        "created_at": timestamp(value.created_at),
        "updated_at": timestamp(value.updated_at),
    }
