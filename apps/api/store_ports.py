"""What the routes ask of everything behind SQL, in the routes' words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from apps.api.rollout_ports import Experiments, Rollouts
from apps.api.run_ports import KeptRuns
from apps.core.domain.flags import Exposed
from apps.core.domain.models import Caller, Document

if TYPE_CHECKING:
    from apps.core.storage.engine import Storage


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a caller thinks of an answer; `comment` is masked where it is stored."""

    answer_id: str
    reward: float
    rating: int | None = None
    thumbs_up: bool | None = None
    comment: str | None = None
    labels: tuple[str, ...] = ()
    created_at: float = 0.0


class Answers(Protocol):
    """Answers as they were sent, and what people said of them."""

    async def find(self, answer_id: str) -> dict[str, object] | None:
        """The body as it was sent."""

    async def opinions(self, answer_id: str) -> Sequence[Opinion]:
        """What was said of it, oldest first."""

    async def exposed(self, answer_id: str) -> Sequence[Exposed]:
        """The arms of rollouts that it had met."""

    async def judge(self, opinion: Opinion, *, caller: str) -> None:
        """Store and commit, in place of the caller's earlier one.

        Raises:
            NotFound: there is no such answer.
        """


class DocumentSummary(Protocol):
    """A row of the list of documents."""

    @property
    def document(self) -> Document:
        """All but its text."""

    @property
    def chars(self) -> int:
        """Length of the text."""

    @property
    def chunks(self) -> int:
        """How many passages it was cut into."""

    @property
    def created_at(self) -> float:
        """When it came first."""

    @property
    def updated_at(self) -> float:
        """When it came last."""


class Documents(Protocol):
    """The documents that searches may find."""

    async def page(self, *, limit: int, after: str | None) -> tuple[int, Sequence[DocumentSummary]]:
        """How many there are, and those behind the id `after`, in the order of ids."""

    async def get(self, doc_id: str) -> Document | None:
        """One of them with its text."""

    async def span(self, doc_id: str, start: int, end: int) -> str | None:
        """The text at [start, end); None: no such document."""


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a new or changed key shall be."""

    name: str
    scopes: Sequence[str]
    tenant: str
    allowed_ips: Sequence[str]
    expires_at: float | None
    rate_limit_per_minute: int | None
    quota_per_day: int | None


@dataclass(frozen=True, slots=True)
class Known:
    """Who holds a key, and how often they may come; None means without limit."""

    caller: Caller
    per_minute: int | None = None
    per_day: int | None = None


class KeyDetails(Protocol):
    """A key as its administrator sees it; the secret is not known to anybody any more."""

    @property
    def id(self) -> str:
        """Its public half."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it opens."""

    @property
    def tenant(self) -> str:
        """Whose it is."""

    @property
    def allowed_ips(self) -> tuple[str, ...]:
        """Networks that it may come from; empty means any."""

    @property
    def rate_limit_per_minute(self) -> int | None:
        """Requests a minute; None means unlimited."""

    @property
    def quota_per_day(self) -> int | None:
        """Requests a day; None means unlimited."""

    @property
    def expires_at(self) -> float | None:
        """Its end, in seconds since 1970."""

    @property
    def revoked_at(self) -> float | None:
        """When it was taken back."""

    @property
    def rotated_from(self) -> str | None:
        """The key that it replaced."""

    @property
    def created_at(self) -> float:
        """When it was made."""

    @property
    def last_used_at(self) -> float | None:
        """When it was last used; None: never."""


class Keys(Protocol):
    """All keys as they are at this moment in every worker, and their administration.

    An unknown id is a NotFound everywhere.
    """

    async def authenticate(self, secret: str, *, ip: str | None) -> Known | None:
        """Who holds `secret`; None for unknown, wrong, expired, revoked, or from elsewhere."""

    async def every(self) -> Sequence[KeyDetails]:
        """Every key."""

    async def get(self, key_id: str) -> KeyDetails:
        """One of them."""

    async def create(self, wish: KeyWish) -> tuple[KeyDetails, str]:
        """A new key and its secret, which can never be read again."""

    async def alter(self, key_id: str, wish: KeyWish) -> KeyDetails:
        """Replace what may be changed."""

    async def revoke(self, key_id: str) -> KeyDetails:
        """End it now."""

    async def rotate(self, key_id: str, *, overlap_s: float) -> tuple[KeyDetails, str]:
        """A successor with a new secret; the old one ends after the overlap."""

    async def usage(self, key_id: str) -> Mapping[str, int]:
        """ISO day to number of requests."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The use of an Idempotency-Key by one request; `at` is when it came."""

    caller: str
    route: str
    key: str
    at: float


@dataclass(frozen=True, slots=True)
class Remembered:
    """The result of an earlier request with the same key and body."""

    status: int
    body: bytes


class Once(Protocol):
    """Lets a request with an Idempotency-Key happen once within 24 hours."""

    async def begin(self, ticket: Ticket, *, body_sha256: str) -> Remembered | None:
        """Claim the key; None: it is ours and `finish` or `abandon` must follow.

        Raises:
            BusinessFailure: it was used with another body, or its first request still runs.
        """

    async def finish(self, ticket: Ticket, *, status: int, body: bytes) -> None:
        """Remember the result."""

    async def abandon(self, ticket: Ticket) -> None:
        """Forget a claim whose request failed."""


class Stores(Protocol):
    """Everything behind SQL."""

    @property
    def storage(self) -> Storage:
        """The door itself, for what has its own words below: flags."""

    @property
    def answers(self) -> Answers:
        """Answers and opinions."""

    @property
    def documents(self) -> Documents:
        """Documents and their texts."""

    @property
    def keys(self) -> Keys:
        """API keys."""

    @property
    def once(self) -> Once:
        """Idempotency keys."""

    @property
    def runs(self) -> KeptRuns:
        """Runs that go on without their caller."""

    @property
    def rollouts(self) -> Rollouts:
        """Staged rollouts."""

    @property
    def experiments(self) -> Experiments:
        """Experiments."""

    async def ping(self) -> None:
        """Return when the database lives.

        Raises:
            StorageDown: it does not.
        """
