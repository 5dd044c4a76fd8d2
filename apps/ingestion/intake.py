"""The work of ingest jobs: fetch, parse, prepare and store item by item, then publish.

Every step is safe to repeat. An item is marked in the transaction that stores its document, so
a crash between two steps neither loses nor doubles anything; what was stored but perhaps not
published is published again when the job goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.core.domain.ports import Clock
from apps.core.errors import DtRagError, SystemFailure
from apps.core.storage import job_items, jobs
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.job_items import Item
from apps.core.storage.jobs import Job
from apps.core.telemetry import traces
from apps.core.text import pii
from apps.ingestion.items import NewItem, meta_from
from apps.ingestion.jobs import describe
from apps.ingestion.parse import ParsedFile, Parser
from apps.ingestion.pipeline import ChunkSize, Origin, Outcome, Prepared, prepare, store
from apps.ingestion.publication import Publication

DOCUMENTS_AT_ONCE = 32
PUBLISH_PASSAGES = 2_000
# Which outcome stands for an item with several documents.
RANK = ("stored", "unchanged", "duplicate")

Fetch = Callable[[str], Awaitable[NewItem]]


@dataclass(slots=True)
class _Fresh:
    """Documents that are stored and not yet published."""

    doc_ids: list[str]
    passages: int = 0


class Intake:
    """Handles jobs of kind `ingest`."""

    def __init__(
        self,
        storage: Storage,
        publication: Publication,
        parser: Parser,
        *,
        fetch: Fetch,
        size: ChunkSize,
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._publication = publication
        self._parser = parser
        self._fetch = fetch
        self._size = size
        self._clock = clock

    async def run(self, taken: Sequence[Job]) -> None:
        """Do these jobs and publish their documents together.

        Raises:
            SystemFailure: a lease was lost, or something of ours is broken; try again later.
        """
        begun = [job.id for job in taken if job.attempts > 1 or job.finished]
        async with self._storage.reading() as s:
            fresh = _Fresh(await job_items.stored_ids(s, begun))
        for job in taken:
            await self._items(job, fresh)
        await self._publish(fresh)

    async def _items(self, job: Job, fresh: _Fresh) -> None:
        while True:
            async with self._storage.reading() as s:
                item = await job_items.next_of(s, job.id)
            if item is None:
                return
            try:
                with traces.begin("ingest.document"):
                    await self._item(job, item, fresh)
            except SystemFailure:
                raise
            except DtRagError as error:
                if error.retryable and job.attempts < jobs.MAX_FAILURES:
                    raise
                await self._fail(job, error)
            if fresh.passages >= PUBLISH_PASSAGES:
                await self._publish(fresh)

    async def _publish(self, fresh: _Fresh) -> None:
        if fresh.doc_ids:
            await self._publication.publish(fresh.doc_ids)
            fresh.doc_ids, fresh.passages = [], 0

    async def _item(self, job: Job, item: Item, fresh: _Fresh) -> None:
        new = await self._content(item)
        found = await asyncio.to_thread(self._parser.parse, new)
        parts = len(found.documents)
        facts = {"dtrag.format": found.format, "dtrag.bytes": len(new.content)}
        traces.current().note({**facts, "dtrag.documents": parts})
        done = int(item.meta.get("done", 0))
        for start in range(done, parts, DOCUMENTS_AT_ONCE):
            block = range(start, min(start + DOCUMENTS_AT_ONCE, parts))
            origin = Origin(pii.mask(item.name), found.format, new.meta)
            prepared = await asyncio.to_thread(self._prepared, origin, found, block)
            item = await self._store(job, item, prepared, parts)
            fresh.doc_ids += [each.document.id for each in prepared]
            fresh.passages += sum(len(each.passages) for each in prepared)

    async def _content(self, item: Item) -> NewItem:
        meta = meta_from(item.meta)
        if item.content is not None:
            return NewItem(item.name, item.content, meta, item.meta.get("format"))
        fetched = await self._fetch(item.name)
        return replace(fetched, meta=meta.over(fetched.meta))

    def _prepared(self, origin: Origin, found: ParsedFile, block: Iterable[int]) -> list[Prepared]:
        if len(found.documents) == 1:
            return [prepare(found.documents[0], origin, self._size)]
        return [
            prepare(found.documents[number], replace(origin, part=number + 1), self._size)
            for number in block
        ]

    async def _store(self, job: Job, item: Item, prepared: Sequence[Prepared], parts: int) -> Item:
        now = self._clock.now()
        async with self._storage.session() as s:
            outcomes = await store(s, prepared, now=now)
            stored = _advanced(item, outcomes, parts)
            await job_items.put(s, job.id, stored)
            more = 0 if "parts" in item.meta else parts - 1
            await self._advance(s, job, step=len(outcomes), more=more)
        return stored

    async def _fail(self, job: Job, error: DtRagError) -> None:
        code, sentence = describe(error)
        async with self._storage.session() as s:
            # Read again: a part of its documents may be stored already.
            item = await job_items.next_of(s, job.id)
            if item is None:
                raise SystemFailure("The lease of the job is lost.")
            failed = replace(item, state="failed", error_code=code, error=sentence)
            rest = int(item.meta.get("parts", 1)) - int(item.meta.get("done", 0))
            await job_items.put(s, job.id, failed)
            await self._advance(s, job, step=rest)

    async def _advance(self, s: Session, job: Job, *, step: int, more: int = 0) -> None:
        """Count documents; an item counts as one until its file was read."""
        now, worker = self._clock.now(), job.locked_by or ""
        if not await jobs.advance(s, worker, job.id, step=step, more=more, now=now):
            # Raised inside the transaction, so nothing of this step stays.
            raise SystemFailure("The lease of the job is lost.")


def _advanced(item: Item, outcomes: Sequence[Outcome], parts: int) -> Item:
    done = int(item.meta.get("done", 0)) + len(outcomes)
    states = [outcome.state for outcome in outcomes]
    if "best" in item.meta:
        states.append(item.meta["best"])
    best = min(states, key=RANK.index)
    meta: dict[str, Any] = {**item.meta, "parts": parts, "done": done, "best": best}
    doc_ids = dict.fromkeys([*item.doc_ids, *(outcome.doc_id for outcome in outcomes)])
    state = best if done >= parts else "queued"
    return replace(item, state=state, meta=meta, doc_ids=tuple(doc_ids))
