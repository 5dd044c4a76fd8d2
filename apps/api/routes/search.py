"""Search and batch search: the hot path, so bodies go out as bytes and nothing touches SQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.admission import caller_of
from apps.api.bodies import read_json
from apps.api.deciding import PARAMETERS, decided_search, found
from apps.api.direct import DirectRoute
from apps.api.errors import problem, unreadable
from apps.api.exchange import Exchange, exchange_of
from apps.api.operation import operation
from apps.api.schemas.search import (
    BatchBody,
    BatchReply,
    SearchBody,
    SearchOptions,
    SearchReply,
)
from apps.api.services import Services, services_of
from apps.core.domain.models import Caller, SearchQuery
from apps.core.errors import DtRagError, NotAllowed
from apps.core.flags.evaluation import Evaluation

SINGLE = operation(
    "search",
    "Find passages",
    body=SearchBody,
    reply=SearchReply,
    errors=(404,),
    examples={
        "한국어": {"q": "machine learning이란 무엇인가?", "final_topk": 5},
        "English": {"query": "What is a vector index?", "max_results": 3, "highlight": True},
        "filtered": {"q": "비용", "filters": {"language": "ko", "tags": ["guide"]}},
    },
    extra={"parameters": PARAMETERS},
)
BATCH = operation(
    "search",
    "Find passages for up to fifty questions",
    body=BatchBody,
    reply=BatchReply,
    examples={
        "shared options": {"queries": ["색인이란?", "What is fusion?"], "final_topk": 3},
        "own options": {"queries": ["색인이란?", {"q": "fusion", "mode": "lexical"}]},
    },
    extra={"parameters": PARAMETERS},
)
router = APIRouter(tags=["search"], route_class=DirectRoute)


@router.post("/search", **SINGLE)
@router.post("/api/v1/search", **SINGLE)
async def search(request: Request) -> Response:
    """Return the best passages of the open index version.

    `mode` is `hybrid`, `lexical` or `dense`; while vectors are still being made, the lexical leg
    answers alone and `degraded` says so.
    """
    body = await read_json(request, SearchBody)
    exchange = exchange_of(request.scope)
    query = _allowed(body.value(), caller_of(request))
    flags = decided_search(
        request, endpoint="search", user_id=body.user_id, session_id=body.session_id
    )
    return render.json_response(await _found(services_of(request), exchange, query, flags))


@router.post("/api/v1/batch-search", **BATCH)
async def batch_search(request: Request) -> Response:
    """Search each question as a single search would; a faulty one becomes an error entry."""
    body = await read_json(request, BatchBody)
    services, exchange = services_of(request), exchange_of(request.scope)
    caller = caller_of(request)
    flags = decided_search(
        request, endpoint="batch-search", user_id=body.user_id, session_id=body.session_id
    )
    started_s = services.clock.monotonic()
    search_one = partial(_found, services, exchange, flags=flags)
    results = [await _entry(exchange, each, body, caller, search_one) for each in body.queries]
    spent_ms = (services.clock.monotonic() - started_s) * 1000
    reply = {"results": results, "request_id": exchange.request_id, "latency_ms": spent_ms}
    return render.json_response(reply)


async def _entry(
    exchange: Exchange,
    entry: str | dict[str, object],
    shared: SearchOptions,
    caller: Caller,
    search_one: Callable[[SearchQuery], Awaitable[dict[str, object]]],
) -> dict[str, object]:
    own = {"q": entry} if isinstance(entry, str) else entry
    # Sent back through the same model, so that a batch cannot accept what a search refuses.
    common = shared.model_dump(exclude={"queries"}, exclude_unset=True)
    if "max_results" in own:
        common.pop("final_topk", None)
    try:
        query = SearchBody.model_validate({**common, **own}).value()
        return await search_one(_allowed(query, caller))
    except ValidationError as error:
        return {"error": problem(unreadable(error), exchange.request_id)}
    except DtRagError as error:
        return {"error": problem(error, exchange.request_id)}


async def _found(
    services: Services, exchange: Exchange, query: SearchQuery, flags: Evaluation
) -> dict[str, object]:
    started_s = services.clock.monotonic()
    result = await found(services, exchange, query, flags)
    spent_ms = (services.clock.monotonic() - started_s) * 1000
    if not exchange.timings_ms:
        exchange.header(b"x-dtrag-index", result.index_version)
        exchange.cached = result.cached
    exchange.timings_ms.append(("search", spent_ms))
    return render.search(result, request_id=exchange.request_id, spent_ms=spent_ms)


def _allowed(query: SearchQuery, caller: Caller) -> SearchQuery:
    if query.version is not None and not caller.may("admin"):
        raise NotAllowed("Only the scope 'admin' may name an index version.")
    return query
