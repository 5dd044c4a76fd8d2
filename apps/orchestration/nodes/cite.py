"""Turn the draft into the answer: each citation checked, what does not hold dropped, or abstain."""

from __future__ import annotations

from apps.orchestration.grounding import Grounded, Grounder
from apps.orchestration.node import Node, RunContext
from apps.orchestration.prompts import message
from apps.orchestration.state import AnswerState, Update
from apps.orchestration.vetting import checker


async def run(state: AnswerState, ctx: RunContext) -> Update:
    """Write `answer`, `citations`, `confidence`, `abstained` and `reason`."""
    if state["smalltalk"]:
        return _silent(state, f"understand.{state['smalltalk']}", reason="smalltalk")
    if state["mode"] == "search" and state["hits"]:
        return {"answer": "", "confidence": min(1.0, state["hits"][0].score)}
    grounded = _grounded(state)
    if not grounded.citations:
        return _silent(state, "cite.no_evidence", reason="no_evidence")
    return {
        "answer": grounded.answer,
        "citations": grounded.citations,
        "confidence": grounded.confidence,
    }


def _grounded(state: AnswerState) -> Grounded:
    hits = state["hits"]
    grounder = Grounder(
        hits,
        preface=state["preface"],
        prior=state["prior"],
        verifier=checker(state["answer_origin"], hits, state["language"]),
    )
    grounder.add(state["draft"])
    return grounder.close()


def _silent(state: AnswerState, text: str, *, reason: str) -> Update:
    return {
        "answer": message(text, state["language"]),
        "abstained": True,
        "reason": reason,
        "confidence": 0.0,
    }


NODE = Node(name="cite", run=run)
