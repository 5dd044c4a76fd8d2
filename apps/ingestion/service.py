"""The face of ingestion: hand documents in, take them out, and see how far the work is."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import structlog

from apps.core.domain.ports import Clock, Embedder
from apps.core.errors import IndexNotReady, NotFound, StorageDown
from apps.core.outbound.public import Outbound
from apps.core.settings import Settings
from apps.core.storage import documents, job_items, jobs
from apps.core.storage.documents import Listed
from apps.core.storage.engine import Storage
from apps.core.storage.job_items import Item
from apps.core.storage.jobs import LEASE_S, Job
from apps.ingestion.intake import Intake
from apps.ingestion.items import ItemMeta, JobView, NewItem
from apps.ingestion.jobs import KINDS, Handler, Runner
from apps.ingestion.parse import Parser
from apps.ingestion.pipeline import ChunkSize
from apps.ingestion.publication import BuiltIndex, Index, Publication
from apps.ingestion.submission import checked_rows, view_of
from apps.ingestion.vectors import Vectors

POLL_S = 0.5
WAIT_S = 0.05
FETCH_TIMEOUT_S = 60.0
DOCUMENT_KINDS, VECTOR_KINDS = KINDS[:2], KINDS[2:]

log = structlog.get_logger(__name__)


class Ingestion:
    """Documents in and out of the index, as jobs that survive the process."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        artifacts_dir: Path,
        embedder: Embedder | None,
        clock: Clock,
        *,
        outbound: Outbound | None = None,
        parser: Parser | None = None,
        index: Index | None = None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._max_bytes = settings.MAX_UPLOAD_BYTES
        self._outbound = outbound or Outbound(settings, clock=clock)
        self._embedder = embedder
        self._parser = parser or Parser()
        self._news = asyncio.Event()
        self._publication = Publication(
            storage,
            index or BuiltIndex(artifacts_dir),
            embedder_id=embedder.id if embedder else None,
            clock=clock,
        )
        self._runner = Runner(storage, self._handlers(settings), clock=clock)

    def _handlers(self, settings: Settings) -> dict[str, Handler]:
        size = ChunkSize(settings.DTRAG_CHUNK_TOKENS, settings.DTRAG_CHUNK_OVERLAP)
        intake = Intake(
            self._storage,
            self._publication,
            self._parser,
            fetch=self._fetched,
            size=size,
            clock=self._clock,
        )

        async def ingest(taken: Sequence[Job]) -> None:
            await intake.run(taken)
            await self._want_vectors()

        async def delete(taken: Sequence[Job]) -> None:
            await self._publication.publish([each for job in taken for each in job.payload["ids"]])

        handlers: dict[str, Handler] = {"ingest": ingest, "delete": delete}
        if self._embedder is not None:
            vectors = Vectors(self._storage, self._publication, self._embedder, clock=self._clock)
            handlers["embed"] = vectors.run
        return handlers

    async def submit(self, items: Sequence[NewItem]) -> str:
        """Queue `items` as one job; when this returns, they survive a crash.

        Returns:
            The job's id.

        Raises:
            MissingParameter: no item.
            TooLarge: an item is over the limit of uploads.
            Unprocessable: an id that cannot be one.
        """
        return await self._enqueue(checked_rows(items, max_bytes=self._max_bytes))

    async def submit_url(self, url: str) -> str:
        """Queue the document at an address; it is fetched by the job.

        Raises:
            Unprocessable: the guard refuses the address.
            BadReply: its host has no address.
        """
        await self._outbound.check(url)
        return await self._enqueue([Item(0, url, {})])

    async def _enqueue(self, rows: Sequence[Item]) -> str:
        job = Job(f"job-{secrets.token_hex(8)}", "ingest", total=len(rows))
        async with self._storage.session() as s:
            await jobs.enqueue(s, job, now=self._clock.now())
            await job_items.add(s, job.id, rows)
        self._news.set()
        return job.id

    async def remove(self, doc_id: str) -> bool:
        """Delete a document; when this returns, nothing finds it. False when there is none.

        Raises:
            IndexNotReady: it is deleted, but the index could not be published; a job goes on.
        """
        now = self._clock.now()
        job = Job(
            f"job-{secrets.token_hex(8)}",
            "delete",
            {"ids": [doc_id]},
            total=1,
            attempts=1,
            locked_by=self._runner.name,
        )
        async with self._storage.session() as s:
            if not await documents.remove(s, doc_id):
                return False
            await jobs.enqueue(s, job, now=now, locked_by=self._runner.name)
        if not await self._runner.run("delete", [job]):
            raise IndexNotReady("The index cannot be published now; the deletion goes on.")
        return True

    async def run_forever(self) -> None:
        """Work on the queue until cancelled; vectors do not hold up documents."""
        await self._calmly(self._runner.recover)
        await self._calmly(self._want_vectors)
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._work(DOCUMENT_KINDS))
            lanes.create_task(self._work(VECTOR_KINDS))

    async def _work(self, kinds: Collection[str]) -> None:
        recovered_at = self._clock.monotonic()
        while True:
            self._news.clear()
            if await self._calmly(partial(self._runner.step, kinds)):
                continue
            if self._clock.monotonic() - recovered_at > LEASE_S:
                await self._calmly(self._runner.recover)
                recovered_at = self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), POLL_S)

    async def _calmly(self, work: Callable[[], Awaitable[object]]) -> object:
        try:
            return await work()
        except StorageDown:
            log.warning("ingestion.storage_down")
            return None

    async def drain(self, *, vectors: bool = True) -> None:
        """Work until the queue is empty, jobs of other workers included.

        Args:
            vectors: also until every chunk has its vector.
        """
        await self._runner.recover()
        kinds = KINDS if vectors and self._embedder is not None else DOCUMENT_KINDS
        while await self._pending(kinds):
            if not await self._runner.step(kinds):
                await asyncio.sleep(WAIT_S)

    async def finished(self, job_id: str) -> JobView:
        """Wait until a job is done or failed; somebody must be working on the queue.

        Raises:
            NotFound: there is no such job.
        """
        while True:
            view = await self.job(job_id)
            if view is None:
                raise NotFound("There is no such job.")
            if view.state in ("done", "failed"):
                return view
            await asyncio.sleep(WAIT_S)

    async def job(self, job_id: str) -> JobView | None:
        """How far a job is, at any time; None when there is none."""
        async with self._storage.reading() as s:
            job = await jobs.get(s, job_id)
            if job is None or job.kind not in KINDS:
                return None
            return view_of(
                job, await job_items.listed(s, job_id), await job_items.counts(s, job_id)
            )

    async def retry(self, job_id: str) -> bool:
        """Queue a failed job again; False when there is none."""
        async with self._storage.session() as s:
            again = await jobs.retry(s, job_id, now=self._clock.now())
        self._news.set()
        return again

    async def documents(self, *, after: str | None = None, limit: int = 100) -> list[Listed]:
        """Documents in the order of their ids, from behind `after`."""
        async with self._storage.reading() as s:
            return await documents.listed(s, after=after, limit=limit)

    async def rebuild(self) -> str:
        """Write the whole index anew from the database; the version's id."""
        return await self._publication.rebuild()

    async def __aenter__(self) -> Ingestion:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the parser's process, and close what fetches."""
        await self._outbound.close()
        await asyncio.to_thread(self._parser.close)

    async def _fetched(self, url: str) -> NewItem:
        limit = self._max_bytes
        found = await self._outbound.fetch(url, max_bytes=limit, timeout_s=FETCH_TIMEOUT_S)
        kind = (found.content_type or "").split(";")[0].strip().lower()
        named = kind == "text/html" and not found.filename.endswith((".html", ".htm"))
        name = f"{found.filename}.html" if named else found.filename
        return NewItem(name, found.content, ItemMeta(source_url=found.url))

    async def _pending(self, kinds: Collection[str]) -> bool:
        async with self._storage.reading() as s:
            return await jobs.pending(s, kinds) is not None

    async def _want_vectors(self) -> None:
        if self._embedder is None:
            return
        async with self._storage.session() as s:
            if await jobs.is_queued(s, "embed"):
                return
            if await documents.waiting(s, self._embedder.id, limit=1):
                job = Job(f"job-{secrets.token_hex(8)}", "embed")
                await jobs.enqueue(s, job, now=self._clock.now())
        self._news.set()
