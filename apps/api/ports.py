"""What the routes ask of the rooms below, in the routes' words; SQL has its own in `store_ports`.

The real ones are built in the background, because importing them costs seconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Literal, Protocol

from apps.core.domain.models import AnswerRecord, AnswerRequest
from apps.ingestion.items import JobView, NewItem
from apps.orchestration.events import Event


class Index(Protocol):
    """The open index version, as far as health is concerned."""

    @property
    def version(self) -> str | None:
        """Its id; None while none is open."""

    @property
    def passages(self) -> int:
        """How many passages it holds."""

    @property
    def vectors(self) -> int:
        """How many of them have a vector."""


class Answerer(Protocol):
    """Turns a question into a record; both methods are one path."""

    def stream(
        self, request: AnswerRequest, *, streaming: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Events of `orchestration.events`; the last one is terminal."""

    async def answer(self, request: AnswerRequest) -> AnswerRecord:
        """The record alone."""


class Intake(Protocol):
    """Takes documents in and out; jobs survive a restart."""

    async def submit(self, items: Sequence[NewItem]) -> str:
        """Queue and commit; the job's id."""

    async def submit_url(self, url: str) -> str:
        """Fetch through the guard, then queue; the job's id."""

    async def remove(self, doc_id: str) -> bool:
        """Take a document out of the index and the database; False: there is none."""

    async def job(self, job_id: str) -> JobView | None:
        """How far a job is."""

    async def finished(self, job_id: str) -> JobView:
        """Wait until a job is done or failed."""


class Usage(Protocol):
    """Counts requests by key, behind the response."""

    def add(self, key_id: str) -> None:
        """One more."""


RedisState = Literal["connected", "disconnected", "not_configured"]


class AnyCache(Protocol):
    """The cache's administration."""

    async def redis_state(self) -> RedisState:
        """Whether the second level takes part."""

    def stats(self) -> Mapping[str, object]:
        """What was counted since the start of this process."""

    async def clear(self, prefix: str = "") -> int:
        """Forget entries whose key begins so; how many there were."""
