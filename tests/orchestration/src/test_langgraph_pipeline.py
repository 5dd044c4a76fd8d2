"""The import path of requirements document 002."""

from __future__ import annotations

from apps.orchestration.src.langgraph_pipeline import get_pipeline


def test_the_promised_line_works() -> None:
    """`len(get_pipeline().replay_buffer)` is a number, and nothing has to run."""
    assert len(get_pipeline().replay_buffer) == 0
