"""All flags of a request, decided once at its door; what searches do in the arms of rollouts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import HTTPConnection, Request

from apps.api.admission import caller_of
from apps.api.exchange import Exchange, exchange_of
from apps.api.services import Services, services_of
from apps.core.domain.models import AnswerRequest, SearchQuery, SearchResult
from apps.core.errors import DtRagError
from apps.core.flags import searching
from apps.core.flags.arms_outcome import searched
from apps.core.flags.context import (
    FlagContext,
    context_of,
    parse_overrides,
)
from apps.core.flags.evaluation import Evaluation
from apps.core.telemetry import metrics

EFFECTIVE = b"x-dtrag-flags-effective"
FLAGS, SYNTHETIC, LANGUAGE = b"x-dtrag-flags", b"x-dtrag-synthetic", b"accept-language"
SPOKEN = frozenset({FLAGS, SYNTHETIC, LANGUAGE})
FIRST_LANGUAGE = re.compile(rb"\s*([A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3})")
TRUE = frozenset({b"1", b"true", b"yes", b"on"})
SERVER_FAILURE = 500
NOBODY = FlagContext()
PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "X-DTRAG-Flags",
        "in": "header",
        "required": False,
        # Entries that are too long are ignored, not refused, so the page sets no limit.
        "schema": {"type": "string"},
        "example": "debate_mode=off;reranker=off",
        "description": "Flags for this request only. `on` needs the scope `flags:override`; "
        "entries that are malformed or not allowed are ignored.",
    },
    {
        "name": "X-DTRAG-Synthetic",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "example": "true",
        "description": "`1`, `true`, `yes` or `on` keeps the request out of the statistics of "
        "rollouts and experiments: for probes and tests.",
    },
]
"""What the OpenAPI page says of the headers that `asked` reads."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the headers say of flags; a caller may take itself out of the statistics."""

    overrides: Mapping[str, bool] = field(default_factory=dict)
    synthetic: bool = False
    locale: str | None = None


SILENT = Asked()


def asked(request: HTTPConnection) -> Asked:
    """Read the headers; entries that are not allowed are counted and forgotten."""
    headers = exchange_of(request.scope).asked
    if SPOKEN.isdisjoint(headers):
        return SILENT
    synthetic = headers.get(SYNTHETIC, b"").strip().lower() in TRUE
    found = FIRST_LANGUAGE.match(headers.get(LANGUAGE, b""))
    locale = found[1].decode() if found else None
    if FLAGS not in headers:
        return Asked(synthetic=synthetic, locale=locale)
    header = ";".join(v.decode("latin-1") for k, v in request.scope["headers"] if k == FLAGS)
    may_turn_on = caller_of(request).may("flags:override")
    overrides = parse_overrides(header, may_turn_on=may_turn_on)
    if overrides.ignored:
        metrics.flag_overrides_ignored.inc(overrides.ignored)
    return Asked(overrides.values, synthetic, locale)


def decided(request: HTTPConnection, question: AnswerRequest) -> AnswerRequest:
    """The question with its flags, which every later step of the request goes by."""
    said, services = asked(request), services_of(request)
    known = replace(
        question, overrides=said.overrides, synthetic=said.synthetic, locale=said.locale
    )
    context = context_of(known, timestamp=int(services.clock.now()))
    evaluation = services.flags.decide(context)
    exchange_of(request.scope).header(EFFECTIVE, evaluation.header)
    return replace(known, decisions=evaluation)


def decided_search(
    request: Request, *, endpoint: str, user_id: str | None, session_id: str | None
) -> Evaluation:
    """The flags of a search; costs next to nothing while no flag looks at the request."""
    services, exchange, said = services_of(request), exchange_of(request.scope), asked(request)
    context = NOBODY
    if services.flags.snapshot.shared is None or said.overrides:
        caller = caller_of(request)
        context = FlagContext(
            targeting_key=user_id or session_id or exchange.request_id,
            user_id=user_id,
            session_id=session_id,
            api_key_id=caller.key_id,
            tenant=caller.tenant,
            locale=said.locale,
            endpoint=endpoint,
            request_id=exchange.request_id,
            timestamp=int(services.clock.now()),
            overrides=said.overrides,
            synthetic=said.synthetic,
        )
    evaluation = services.flags.decide(context)
    exchange.header(EFFECTIVE, evaluation.header)
    return evaluation


async def found(
    services: Services, exchange: Exchange, query: SearchQuery, evaluation: Evaluation
) -> SearchResult:
    """Search by the flags where the caller left the choice, and count it in the arms it met.

    Raises:
        DtRagError: as the search does.
    """
    said, armed = evaluation.searching, bool(evaluation.armed)
    wanted = searching.choice(query, said)
    started_s = services.clock.monotonic() if armed else 0.0
    try:
        result = await services.searcher.search(wanted)
    except Exception as error:
        ours = not isinstance(error, DtRagError) or error.status >= SERVER_FAILURE
        if ours and armed:
            _count(services, exchange, query, evaluation, started_s=started_s, result=None)
        raise
    if lacking := searching.refused(query, said):
        result = result._replace(degraded=(*result.degraded, *lacking))
    if armed and not result.cached:
        _count(services, exchange, query, evaluation, started_s=started_s, result=result)
    return result


def _count(
    services: Services,
    exchange: Exchange,
    query: SearchQuery,
    evaluation: Evaluation,
    *,
    started_s: float,
    result: SearchResult | None,
) -> None:
    arms = services.arms.value
    if arms is None:
        return
    came_to = searching.met(query, evaluation, result)
    request_id, now = exchange.request_id, services.clock.now()
    spent_ms = (services.clock.monotonic() - started_s) * 1e3
    met = (arms.expose(evaluation, key, node="search", request_id=request_id) for key in came_to)
    exposed = tuple(each for each in met if each is not None)
    arms.finish(searched(exposed, request_id, now, duration_ms=spent_ms, result=result))
