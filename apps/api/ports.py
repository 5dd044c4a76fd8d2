"""What the routes ask of the rooms below, in the routes' words; SQL has its own in `store_ports`.

The real ones are built in the background, because importing them costs seconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from apps.core.domain.flags import Exposed
from apps.core.domain.models import AnswerRecord, AnswerRequest
from apps.core.flags.arms_outcome import Outcome
from apps.core.flags.context import FlagContext
from apps.core.flags.evaluation import Evaluation
from apps.core.flags.snapshot import Snapshot
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
        self, request: AnswerRequest, *, streaming: bool = True, answer_id: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Events of `orchestration.events`; the last one is terminal."""

    async def answer(self, request: AnswerRequest) -> AnswerRecord:
        """The record alone."""


class Flags(Protocol):
    """Decides all flags of a request; `core.flags.store.FlagStore`."""

    @property
    def snapshot(self) -> Snapshot:
        """All flags at their newest version."""

    @property
    def host(self) -> str:
        """Where it runs."""

    def decide(self, context: FlagContext) -> Evaluation:
        """Every flag for one request."""

    async def fresh(self) -> None:
        """Learn of every change that was committed before this request."""

    async def reload(self) -> int:
        """Read everything again; the version."""

    async def kill_locally(self, keys: frozenset[str], note: str = "") -> bool:
        """Skip flags, `*` for all, without SQL; whether the whole host does. `note` says why."""


class Arms(Protocol):
    """Counts what happens in the arms of rollouts; `core.flags.arms.ArmRecorder`."""

    def expose(
        self, evaluation: Evaluation, flag_key: str, *, node: str, request_id: str
    ) -> Exposed | None:
        """Note that a request met a flag; None when it is in none of its arms."""

    def finish(self, outcome: Outcome) -> None:
        """Take the end of a request."""

    def feedback(self, exposed: Iterable[Exposed], *, bad: bool) -> None:
        """Count what somebody said of an answer."""


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
