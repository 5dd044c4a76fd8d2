"""What the routes ask of runs that go on without their caller, in the routes' words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from apps.core.domain.models import AnswerRequest, Caller

RunState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunView:
    """How far a run is.

    progress: the bodies of its progress events so far.
    answer: the body that a plain request would have got; only of a run that is done.
    problem: only of a run that failed or was cancelled.
    """

    id: str
    state: RunState
    progress: Sequence[Mapping[str, object]]
    answer: Mapping[str, object] | None
    problem: Mapping[str, object] | None
    created_at: float
    updated_at: float


class KeptRuns(Protocol):
    """Runs in the database; those of another key are as if they were not there."""

    async def accept(self, asked: AnswerRequest) -> str:
        """Queue and commit a question whose flags are decided; the run's id.

        Raises:
            LimitReached: too many wait.
            StorageDown: the database is away.
        """

    async def view(self, run_id: str, caller: Caller) -> RunView:
        """How far it is.

        Raises:
            NotFound: there is no such run, not for this caller, or not any more.
        """

    async def cancel(self, run_id: str, caller: Caller) -> RunView:
        """End it, wherever it runs; one that has ended keeps its end.

        Raises:
            NotFound: as for `view`.
        """

    async def follow(self, run_id: str, caller: Caller, *, after: int) -> AsyncIterator[bytes]:
        """Its events behind the one of that number, until the terminal one.

        Raises:
            NotFound: as for `view`.
        """
