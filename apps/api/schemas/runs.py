"""Bodies of runs that go on without their caller."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apps.api.run_ports import RunState
from apps.api.schemas.answer import AnswerReply
from apps.api.schemas.base import Problem, Reply


class AcceptedRunReply(Reply):
    """The run that makes the answer; its id is also the answer's."""

    run_id: str = Field(examples=["5f0c6f0e6f1b4c7e9a55d2a1c4c1f9b2"])


class RunProgress(Reply):
    """A node of the walk began, ended or was skipped."""

    node: str = Field(examples=["retrieve"])
    step: Literal["started", "ended", "skipped"]
    elapsed_ms: float


class RunReply(Reply):
    """How far a run is."""

    run_id: str
    state: RunState
    progress: list[RunProgress]
    answer: AnswerReply | None = Field(description="Of a run that is done, as `POST /answer`.")
    problem: Problem | None = Field(description="Of a run that failed or was cancelled.")
    created_at: str
    updated_at: str
