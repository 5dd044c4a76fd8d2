"""Find the passages that the answer may use."""

from __future__ import annotations

from apps.core.domain.models import SearchQuery, SearchResult
from apps.core.flags.searching import choice, met
from apps.orchestration.events import Found
from apps.orchestration.node import Node, RunContext
from apps.orchestration.state import AnswerState, Update


async def run(state: AnswerState, ctx: RunContext) -> Update:
    """Write `hits`, `signals` and `index_version`; small talk needs none."""
    if state["smalltalk"]:
        return {}
    query, decisions = _query(state), state["decisions"]
    found: SearchResult | None = None
    try:
        found = await ctx.search(choice(query, decisions))
    finally:
        # A search that fails or runs out of time has met its flags too.
        for flag in met(query, decisions, found):
            ctx.exposed(flag, NODE.name)
    ctx.emit(Found(found.hits, found.index_version))
    return {
        "hits": found.hits,
        "signals": found.signals,
        "index_version": found.index_version,
        "degraded": list(found.degraded),
        "usage": found.usage,
    }


def _query(state: AnswerState) -> SearchQuery:
    """What an agent has planned, else the baseline; the flags say what neither does."""
    return state["search"] or SearchQuery(
        state["question_masked"], top_k=state["top_k"], filters=state["filters"]
    )


NODE = Node(name="retrieve", run=run)
