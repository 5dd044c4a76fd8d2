"""Find the passages that the answer may use."""

from __future__ import annotations

from collections.abc import Collection

from apps.core.domain.flags import Decisions
from apps.core.domain.models import SearchQuery, SearchResult
from apps.core.flags.evaluation import Evaluation
from apps.core.flags.searching import FLAGS, choice, met, refused
from apps.orchestration.events import Found
from apps.orchestration.node import Node, RunContext
from apps.orchestration.state import AnswerState, Update


async def run(state: AnswerState, ctx: RunContext) -> Update:
    """Write `hits`, `signals` and `index_version`; small talk needs none."""
    if state["smalltalk"]:
        return {}
    query, killed = _query(state), frozenset(key for key in FLAGS if ctx.killed(key))
    decisions = Evaluation.of(state["decisions"]).without(killed)
    found: SearchResult | None = None
    try:
        found = await ctx.search(choice(query, decisions.searching))
    finally:
        # A search that fails or runs out of time has met its flags too.
        for flag in met(query, decisions, found):
            if flag not in killed:
                ctx.exposed(flag, NODE.name)
    ctx.emit(Found(found.hits, found.index_version))
    return {
        "hits": found.hits,
        "signals": found.signals,
        "index_version": found.index_version,
        "degraded": [
            *found.degraded,
            *_stopped(state["decisions"], killed),
            *refused(query, decisions.searching),
        ],
        "usage": found.usage,
    }


def _query(state: AnswerState) -> SearchQuery:
    """What an agent has planned, else the baseline; the flags say what neither does."""
    return state["search"] or SearchQuery(
        state["question_masked"], top_k=state["top_k"], filters=state["filters"]
    )


def _stopped(decided: Decisions, killed: Collection[str]) -> list[str]:
    """What was wanted when the request came and has been killed since."""
    return [key for key in FLAGS if key in killed and key in decided and decided[key].active]


NODE = Node(name="retrieve", run=run)
