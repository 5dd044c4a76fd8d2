"""Answers, documents, keys and remembered results in plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from apps.api.rollout_ports import Experiments, Rollouts
from apps.api.run_ports import KeptRuns
from apps.api.store_ports import KeyWish, Known, Opinion, Remembered, Ticket
from apps.core.domain.flags import Exposed
from apps.core.domain.models import Caller, Document
from apps.core.errors import BusinessFailure, NotFound, StorageDown
from apps.core.storage.engine import Storage
from tests.fakes.rollouts import FakeExperiments, FakeRollouts


@dataclass(frozen=True)
class FakeKey:
    """A key; its secret is `secret-<id>`."""

    id: str
    scopes: tuple[str, ...]
    name: str = "test"
    tenant: str = "default"
    allowed_ips: tuple[str, ...] = ()
    expires_at: float | None = None
    rate_limit_per_minute: int | None = None
    quota_per_day: int | None = None
    created_at: float = 0.0
    last_used_at: float | None = None
    revoked_at: float | None = None
    rotated_from: str | None = None


@dataclass
class FakeKeys:
    """Keys by id."""

    rows: dict[str, FakeKey] = field(default_factory=dict)

    def add(self, *scopes: str, **fields: object) -> str:
        """Make a key and return its secret."""
        key = FakeKey(id=f"k{len(self.rows)}", scopes=scopes, **fields)  # type: ignore[arg-type]
        self.rows[key.id] = key
        return f"secret-{key.id}"

    async def authenticate(self, secret: str, *, ip: str | None) -> Known | None:
        key = self.rows.get(secret.removeprefix("secret-"))
        if key is None or key.revoked_at is not None:
            return None
        if key.allowed_ips and ip not in key.allowed_ips:
            return None
        caller = Caller(key.id, frozenset(key.scopes), key.tenant)
        return Known(caller, key.rate_limit_per_minute, key.quota_per_day)

    async def every(self) -> Sequence[FakeKey]:
        return list(self.rows.values())

    async def get(self, key_id: str) -> FakeKey:
        if key_id not in self.rows:
            raise NotFound("There is no such key.")
        return self.rows[key_id]

    async def create(self, wish: KeyWish) -> tuple[FakeKey, str]:
        secret = self.add(*wish.scopes, **_fields(wish))
        return self.rows[secret.removeprefix("secret-")], secret

    async def alter(self, key_id: str, wish: KeyWish) -> FakeKey:
        old = await self.get(key_id)
        self.rows[key_id] = replace(old, scopes=tuple(wish.scopes), **_fields(wish))
        return self.rows[key_id]

    async def revoke(self, key_id: str) -> FakeKey:
        self.rows[key_id] = replace(await self.get(key_id), revoked_at=1.0)
        return self.rows[key_id]

    async def rotate(self, key_id: str, *, overlap_s: float) -> tuple[FakeKey, str]:
        old = await self.get(key_id)
        secret = self.add(*old.scopes, rotated_from=key_id)
        await self.revoke(key_id)
        return self.rows[secret.removeprefix("secret-")], secret

    async def usage(self, key_id: str) -> Mapping[str, int]:
        await self.get(key_id)
        return {"2025-10-09": 3}


def _fields(wish: KeyWish) -> dict[str, object]:
    return {
        "name": wish.name,
        "tenant": wish.tenant,
        "allowed_ips": tuple(wish.allowed_ips),
        "expires_at": wish.expires_at,
        "rate_limit_per_minute": wish.rate_limit_per_minute,
        "quota_per_day": wish.quota_per_day,
    }


@dataclass
class FakeAnswers:
    """Bodies and opinions by answer id."""

    bodies: dict[str, dict[str, object]] = field(default_factory=dict)
    said: dict[tuple[str, str], Opinion] = field(default_factory=dict)
    arms: dict[str, Sequence[Exposed]] = field(default_factory=dict)

    async def find(self, answer_id: str) -> dict[str, object] | None:
        return self.bodies.get(answer_id)

    async def opinions(self, answer_id: str) -> Sequence[Opinion]:
        return [each for (about, _), each in self.said.items() if about == answer_id]

    async def exposed(self, answer_id: str) -> Sequence[Exposed]:
        return self.arms.get(answer_id, ())

    async def judge(self, opinion: Opinion, *, caller: str) -> None:
        if opinion.answer_id not in self.bodies:
            raise NotFound("There is no such answer.")
        self.said[(opinion.answer_id, caller)] = opinion


@dataclass(frozen=True)
class FakeListed:
    """A document in a list."""

    document: Document
    chars: int
    chunks: int = 1
    created_at: float = 1.0
    updated_at: float = 1.0


@dataclass
class FakeDocuments:
    """Documents by id."""

    rows: dict[str, Document] = field(default_factory=dict)

    async def page(self, *, limit: int, after: str | None) -> tuple[int, Sequence[FakeListed]]:
        behind = [each for key, each in sorted(self.rows.items()) if key > (after or "")]
        return len(self.rows), [FakeListed(each, len(each.text)) for each in behind[:limit]]

    async def get(self, doc_id: str) -> Document | None:
        return self.rows.get(doc_id)

    async def span(self, doc_id: str, start: int, end: int) -> str | None:
        found = self.rows.get(doc_id)
        return None if found is None else found.text[start:end]


@dataclass
class FakeOnce:
    """Digest and result by caller, route and key."""

    rows: dict[tuple[str, str, str], tuple[str, Remembered | None]] = field(default_factory=dict)
    away: bool = False

    async def begin(self, ticket: Ticket, *, body_sha256: str) -> Remembered | None:
        self._refuse()
        name = (ticket.caller, ticket.route, ticket.key)
        if name not in self.rows:
            self.rows[name] = (body_sha256, None)
            return None
        digest, result = self.rows[name]
        if digest != body_sha256:
            raise BusinessFailure("The Idempotency-Key was used with another body.")
        if result is None:
            raise BusinessFailure("The first request still runs.")
        return result

    async def finish(self, ticket: Ticket, *, status: int, body: bytes) -> None:
        self._refuse()
        name = (ticket.caller, ticket.route, ticket.key)
        self.rows[name] = (self.rows[name][0], Remembered(status, body))

    async def abandon(self, ticket: Ticket) -> None:
        self._refuse()
        self.rows.pop((ticket.caller, ticket.route, ticket.key), None)

    def _refuse(self) -> None:
        if self.away:
            raise StorageDown("away")


@dataclass
class FakeStores:
    """All of them, with their own faces for tests."""

    answers: FakeAnswers = field(default_factory=FakeAnswers)
    documents: FakeDocuments = field(default_factory=FakeDocuments)
    keys: FakeKeys = field(default_factory=FakeKeys)
    once: FakeOnce = field(default_factory=FakeOnce)
    rollouts: Rollouts = field(default_factory=FakeRollouts)
    experiments: Experiments = field(default_factory=FakeExperiments)
    down: bool = False
    storage: Storage | None = None
    runs: KeptRuns | None = None

    async def ping(self) -> None:
        if self.down:
            raise StorageDown("The database does not answer.")
