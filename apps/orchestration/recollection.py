"""The third link of the chain: an earlier answer to the same question, checked against today."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from apps.core.domain.models import AnswerRecord, Citation, Hit
from apps.orchestration.claims import MARK
from apps.orchestration.node import RunContext
from apps.orchestration.state import AnswerState, Update
from apps.orchestration.vetting import holds


async def recollect(state: AnswerState, ctx: RunContext) -> Update | None:
    """Offer the last good answer as a draft; None when there is none that still holds.

    It may come from an older index, so every passage that it cites must be among today's hits
    with the same words: what has been deleted or changed since is not said again.
    """
    hits, language = state["hits"], state["language"]
    record = await ctx.recall()
    draft = redrafted(record, hits) if record else None
    if not record or not draft or not holds(draft, hits, origin="cache", language=language):
        return None
    age_s = max(0.0, ctx.clock.now() - record.created_at)
    return {
        "draft": draft,
        "answer_origin": "cache",
        "served_by": "cache",
        "model": record.model,
        "trace": {"cache": {"age_s": age_s, "index_version": record.index_version}},
    }


def redrafted(record: AnswerRecord, hits: Sequence[Hit]) -> str | None:
    """Number the marks of an old answer by the places of its passages in `hits`, 1 is first."""
    places = {citation.index: _place(citation, hits) for citation in record.citations}
    if not places or None in places.values():
        return None
    return MARK.sub(lambda mark: _renumbered(mark, places), record.answer)


def _place(citation: Citation, hits: Sequence[Hit]) -> int | None:
    for number, hit in enumerate(hits, start=1):
        if hit.passage.chunk_id == citation.chunk_id and citation.quote in hit.passage.text:
            return number
    return None


def _renumbered(mark: re.Match[str], places: Mapping[int, int | None]) -> str:
    return f"[{places[int(mark[1])]}]" if int(mark[1]) in places else mark[0]
