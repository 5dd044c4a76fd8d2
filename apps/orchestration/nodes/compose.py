"""Write the draft: by the first model that can, else from memory, else by quoting.

The chain of five (requirements document 003): primary model, secondary model, cached answer,
extractive answer, typed error. Sentences that no passage supports never leave this node.
"""

from __future__ import annotations

import asyncio

from apps.core.llm.extractive import Draft, extract, render
from apps.orchestration.abstention import Abstention, decide
from apps.orchestration.node import Node, RunContext
from apps.orchestration.prompts import message
from apps.orchestration.recollection import recollect
from apps.orchestration.state import AnswerState, Update
from apps.orchestration.writing import Writing

# A model reads what quoting cannot see, so it is asked even when quoting would abstain; only far
# below that threshold is the call not worth its price.
HOPELESS_SHARE = 0.5


async def run(state: AnswerState, ctx: RunContext) -> Update:
    """Write `draft` and who wrote it; an empty draft abstains."""
    hits = state["hits"]
    if not hits or state["mode"] == "search":
        return {}
    extracted = await asyncio.to_thread(
        extract, state["question_masked"], hits, language=state["language"], mode=state["mode"]
    )
    verdict = decide(state["signals"], extracted, language=state["language"])
    if not ctx.models or verdict.confidence < HOPELESS_SHARE * verdict.threshold:
        return _quoted(state, extracted, verdict)
    writing = Writing(state, ctx)
    written = await writing.by_models()
    if written is None and writing.all_failed:
        written = await recollect(state, ctx)
    return writing.account(written or _quoted(state, extracted, verdict), verdict.confidence)


def _quoted(state: AnswerState, extracted: Draft, verdict: Abstention) -> Update:
    foreign = message("compose.foreign", state["language"]) if extracted.foreign else ""
    return {
        "draft": "" if verdict.abstain else render(extracted, state["mode"]),
        "preface": foreign,
        "prior": verdict.confidence,
        "answer_origin": "extractive",
        "served_by": "extractive",
    }


NODE = Node(name="compose", run=run, timeout_s=120.0)
