"""The place of the debate."""

from __future__ import annotations

from dataclasses import replace

from apps.orchestration.nodes.debate_mode import NODE
from tests.fakes.answering import FakeIndex, FixedFlags, Stage

QUESTION = "서울의 인구는 몇 명인가?"


async def test_it_changes_nothing_yet() -> None:
    """With it, the answer is the baseline's but for the names of flag and node."""
    plain = await Stage().answer(QUESTION)
    debated = await Stage(flags=FixedFlags("debate_mode")).answer(QUESTION)
    assert "debate_mode" in debated.nodes
    same = {
        "decisions": plain.decisions,
        "nodes": plain.nodes,
        "timings_ms": plain.timings_ms,
    }
    assert replace(debated, **same) == plain


async def test_without_a_draft_there_is_nothing_to_debate() -> None:
    """It does not run, and nothing is degraded."""
    stage = Stage(index=FakeIndex(()), flags=FixedFlags("debate_mode"))
    record = await stage.answer(QUESTION)
    assert NODE.name not in record.nodes
    assert record.degraded == ()
