"""The import path that requirements document 002 promises: `get_pipeline()`.

The service itself is built in `apps/core/wiring.py`; this façade is for an operator's shell and
opens nothing. `replay_buffer` is always empty in this release: answers are recorded, but no agent
replays them yet and there is no table of experiences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PipelineView:
    """What an operator may look at; `replay_buffer` are the experiences that agents replay."""

    replay_buffer: Sequence[object] = ()


def get_pipeline() -> PipelineView:
    """Look at the pipeline; costs nothing and needs no running service."""
    return PipelineView()
