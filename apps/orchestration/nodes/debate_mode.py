"""Let several agents debate the draft. The debate itself comes later; this node keeps its place.

It is there so that its flag can be rolled out, measured and rolled back before it does anything.
"""

from __future__ import annotations

from apps.core.flags.catalogue import flag_of
from apps.orchestration.node import Node, RunContext
from apps.orchestration.state import AnswerState, Update


async def run(_state: AnswerState, _ctx: RunContext) -> Update:
    """Change nothing."""
    return {}


def has_draft(state: AnswerState) -> bool:
    """Whether there is something to debate."""
    return bool(state["draft"])


NODE = Node(name="debate_mode", flag=flag_of("debate_mode"), run=run, applies=has_draft)
