"""Find the passages that the answer may use."""

from __future__ import annotations

from apps.core.domain.models import SearchQuery
from apps.core.flags.searching import asked, choice
from apps.orchestration.events import Found
from apps.orchestration.node import Node, RunContext
from apps.orchestration.state import AnswerState, Update


async def run(state: AnswerState, ctx: RunContext) -> Update:
    """Write `hits`, `signals` and `index_version`; small talk needs none."""
    if state["smalltalk"]:
        return {}
    found = await ctx.search(_query(state, ctx))
    ctx.emit(Found(found.hits, found.index_version))
    return {
        "hits": found.hits,
        "signals": found.signals,
        "index_version": found.index_version,
        "degraded": list(found.degraded),
    }


def _query(state: AnswerState, ctx: RunContext) -> SearchQuery:
    """What an agent has planned, else the baseline; the flags say what neither does."""
    query = state["search"] or SearchQuery(
        state["question_masked"], top_k=state["top_k"], filters=state["filters"]
    )
    for flag in asked(query, state["decisions"]):
        ctx.exposed(flag, NODE.name)
    return choice(query, state["decisions"])


NODE = Node(name="retrieve", run=run)
