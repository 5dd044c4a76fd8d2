"""The stores over SQL; imported in the background, because SQLAlchemy costs half a second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from apps.api import store_ports as ports
from apps.core.domain.flags import Exposed
from apps.core.domain.models import AnswerRecord, Caller, Document
from apps.core.domain.ports import Clock
from apps.core.errors import NotFound
from apps.core.storage import answers, documents, idempotency, keyring, keys
from apps.core.storage.engine import Storage
from apps.core.text import pii

# The worker that answered writes within this time; another worker may be asked sooner.
BEHIND_S = 0.3
# A request waits no longer for its Idempotency-Key.
ONCE_S = 1.0
# The part of a stored answer that was not sent: for feedback, which arms it had met.
EXPOSED = "exposed"


class SqlAnswers:
    """Answers and opinions."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def find(self, answer_id: str) -> dict[str, object] | None:
        """The body as it was sent; one that was just made is waited for."""
        found = await self._waited(answer_id)
        if found is not None:
            found.pop(EXPOSED, None)
        return found

    async def exposed(self, answer_id: str) -> Sequence[Exposed]:
        """The arms that it had met."""
        found = await self._find(answer_id) or {}
        return [Exposed(**each) for each in cast("list[Any]", found.get(EXPOSED, ()))]

    async def _waited(self, answer_id: str) -> dict[str, object] | None:
        found = await self._find(answer_id)
        if found is None:
            await self._storage.writer.flush()
            found = await self._find(answer_id)
        if found is None:
            await asyncio.sleep(BEHIND_S)
            found = await self._find(answer_id)
        return found

    async def _find(self, answer_id: str) -> dict[str, object] | None:
        async with self._storage.reading() as s:
            stored = await answers.get(s, answer_id)
        return None if stored is None else dict(stored.body)

    async def opinions(self, answer_id: str) -> Sequence[ports.Opinion]:
        """What was said of it, oldest first."""
        async with self._storage.reading() as s:
            said = await answers.feedback_of(s, answer_id)
        return [
            ports.Opinion(
                answer_id=each.answer_id,
                reward=each.reward,
                rating=each.rating,
                thumbs_up=each.thumbs_up,
                comment=each.comment_masked,
                labels=each.labels,
                created_at=each.created_at,
            )
            for each in said
        ]

    async def judge(self, opinion: ports.Opinion, *, caller: str) -> None:
        """Store and commit an opinion, its comment masked."""
        if await self.find(opinion.answer_id) is None:
            raise NotFound("There is no such answer.")
        given = answers.Feedback(
            answer_id=opinion.answer_id,
            caller=caller,
            reward=opinion.reward,
            created_at=opinion.created_at,
            rating=opinion.rating,
            thumbs_up=opinion.thumbs_up,
            comment_masked=pii.mask(opinion.comment) if opinion.comment else None,
            labels=tuple(pii.mask(each) for each in opinion.labels),
        )
        async with self._storage.session() as s:
            await answers.put_feedback(s, given)


def exposures(record: AnswerRecord) -> dict[str, object]:
    """What is stored beside an answer's body; nothing when no arm was met."""
    return {EXPOSED: [asdict(each) for each in record.exposed]} if record.exposed else {}


class SqlKeys:
    """API keys: a snapshot in memory for requests, SQL for their administration."""

    def __init__(
        self, storage: Storage, ring: keyring.KeyRing, *, pepper: bytes, clock: Clock
    ) -> None:
        self._storage = storage
        self._ring = ring
        self._pepper = pepper
        self._clock = clock

    async def authenticate(self, secret: str, *, ip: str | None) -> ports.Known | None:
        """Who holds `secret`, by the newest snapshot; no SQL unless a key has changed."""
        snapshot = await self._ring.current()
        caller: Caller | None = snapshot.authenticate(secret, ip, self._clock.now())
        if caller is None or caller.key_id is None:
            return None
        key = snapshot.key(caller.key_id)
        if key is None:
            return None
        return ports.Known(caller, key.rate_limit_per_minute, key.quota_per_day)

    async def every(self) -> Sequence[ports.KeyDetails]:
        """Every key."""
        async with self._storage.reading() as s:
            return await keys.every(s)

    async def get(self, key_id: str) -> ports.KeyDetails:
        """One of them."""
        async with self._storage.reading() as s:
            return await keys.get(s, key_id)

    async def create(self, wish: ports.KeyWish) -> tuple[ports.KeyDetails, str]:
        """A new key and its secret."""
        async with self._storage.session() as s:
            made = await keys.create(s, _wish(wish), pepper=self._pepper, now=self._clock.now())
        await self._ring.refresh()
        return made.key, made.secret

    async def alter(self, key_id: str, wish: ports.KeyWish) -> ports.KeyDetails:
        """Replace what may be changed."""
        async with self._storage.session() as s:
            changed = await keys.alter(s, key_id, _wish(wish))
        await self._ring.refresh()
        return changed

    async def revoke(self, key_id: str) -> ports.KeyDetails:
        """End it now."""
        async with self._storage.session() as s:
            await keys.revoke(s, key_id, now=self._clock.now())
            revoked = await keys.get(s, key_id)
        await self._ring.refresh()
        return revoked

    async def rotate(self, key_id: str, *, overlap_s: float) -> tuple[ports.KeyDetails, str]:
        """A successor with a new secret."""
        async with self._storage.session() as s:
            made = await keys.rotate(
                s, key_id, pepper=self._pepper, now=self._clock.now(), overlap_s=overlap_s
            )
        await self._ring.refresh()
        return made.key, made.secret

    async def usage(self, key_id: str) -> Mapping[str, int]:
        """ISO day to number of requests."""
        async with self._storage.reading() as s:
            await keys.get(s, key_id)
            return dict(await keys.usage(s, key_id))


def _wish(wish: ports.KeyWish) -> keys.KeyWish:
    return keys.KeyWish(
        name=wish.name,
        scopes=tuple(wish.scopes),
        tenant=wish.tenant,
        allowed_ips=tuple(wish.allowed_ips),
        rate_limit_per_minute=wish.rate_limit_per_minute,
        quota_per_day=wish.quota_per_day,
        expires_at=wish.expires_at,
    )


class SqlDocuments:
    """Documents and their texts."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def page(
        self, *, limit: int, after: str | None
    ) -> tuple[int, Sequence[ports.DocumentSummary]]:
        """How many there are, and some of them."""
        async with self._storage.reading() as s:
            total = await documents.count(s)
            return total, await documents.listed(s, after=after, limit=limit)

    async def get(self, doc_id: str) -> Document | None:
        """One of them with its text."""
        async with self._storage.reading() as s:
            return await documents.get(s, doc_id)

    async def span(self, doc_id: str, start: int, end: int) -> str | None:
        """The text at [start, end)."""
        async with self._storage.reading() as s:
            return await documents.span(s, doc_id, start, end)


class SqlOnce:
    """Idempotency-Key."""

    def __init__(self, storage: Storage, *, claim_s: float) -> None:
        self._storage = storage
        self._claim_s = claim_s

    async def begin(self, ticket: ports.Ticket, *, body_sha256: str) -> ports.Remembered | None:
        """Claim the key, or give the earlier result."""
        async with self._storage.session(within_s=ONCE_S) as s:
            earlier = await idempotency.claim(
                s, _claim(ticket), body_sha256=body_sha256, claim_s=self._claim_s
            )
        return None if earlier is None else ports.Remembered(earlier.status, earlier.body)

    async def finish(self, ticket: ports.Ticket, *, status: int, body: bytes) -> None:
        """Remember the result."""
        async with self._storage.session(within_s=ONCE_S) as s:
            await idempotency.complete(s, _claim(ticket), idempotency.StoredResponse(status, body))

    async def abandon(self, ticket: ports.Ticket) -> None:
        """Forget a claim whose request failed."""
        async with self._storage.session(within_s=ONCE_S) as s:
            await idempotency.release(s, _claim(ticket))


def _claim(ticket: ports.Ticket) -> idempotency.Claim:
    return idempotency.Claim(ticket.caller, ticket.route, ticket.key, ticket.at)
