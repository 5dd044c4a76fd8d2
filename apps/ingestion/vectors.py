"""The work of embed jobs: vectors for chunks that have none, in small steps, kept at once.

Vectors are stored as they come and join the index every `PUBLISH_VECTORS` or `PUBLISH_S`.
Which ones the index lacks stands in the job, so a crash costs no vector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.core.domain.ports import Clock, Embedder, FloatArray
from apps.core.errors import SystemFailure
from apps.core.storage import documents, jobs
from apps.core.storage.documents import Waiting
from apps.core.storage.engine import Storage
from apps.core.storage.jobs import Job
from apps.core.text.titles import with_title
from apps.ingestion.publication import Publication

PUBLISH_VECTORS = 2_000
PUBLISH_S = 60.0
# A question may wait for the embedder as long as one call takes, so calls are kept short:
# a slow local model gets one passage at a time, a quick or remote one gets many.
BLOCK = 256
MIN_TEXTS, FIRST_TEXTS, MAX_TEXTS = 1, 2, 64
SHORT_S, LONG_S = 0.4, 1.0


@dataclass(slots=True)
class _Progress:
    job: Job
    published_at: float
    known: int  # how many the job says are left
    left: int = 0  # how many are left
    unpublished: dict[str, FloatArray] = field(default_factory=dict)

    def is_due(self, now: float) -> bool:
        late = now - self.published_at >= PUBLISH_S
        return late or len(self.unpublished) >= PUBLISH_VECTORS


class Vectors:
    """Handles jobs of kind `embed`."""

    def __init__(
        self, storage: Storage, publication: Publication, embedder: Embedder, *, clock: Clock
    ) -> None:
        self._storage = storage
        self._publication = publication
        self._embedder = embedder
        self._clock = clock

    async def run(self, taken: Sequence[Job]) -> None:
        """Embed until nothing waits.

        Raises:
            SystemFailure: the lease was lost.
            ProviderFailure: the embedder does not answer; try again later.
        """
        for job in taken:
            await self._embed(job)

    async def _embed(self, job: Job) -> None:
        progress = _Progress(job, self._clock.monotonic(), known=job.total - job.finished)
        progress.unpublished = await self._stored(job.payload.get("unpublished", ()))
        size = FIRST_TEXTS
        while block := await self._waiting(progress):
            while block:
                now, block = block[:size], block[size:]
                begun_at = self._clock.monotonic()
                texts = [with_title(each.title, each.text) for each in now]
                matrix = await asyncio.to_thread(self._embedder.passages, texts)
                size = next_size(size, took_s=self._clock.monotonic() - begun_at)
                new = {each.chunk_id: row for each, row in zip(now, matrix, strict=True)}
                await self._keep(progress, new)
                if progress.is_due(self._clock.monotonic()):
                    await self._publish(progress)
        await self._publish(progress)

    async def _waiting(self, progress: _Progress) -> list[Waiting]:
        async with self._storage.reading() as s:
            progress.left = await documents.count_waiting(s, self._embedder.id)
            return await documents.waiting(s, self._embedder.id, limit=BLOCK)

    async def _stored(self, chunk_ids: Sequence[str]) -> dict[str, FloatArray]:
        async with self._storage.reading() as s:
            return await documents.vectors_of(s, chunk_ids, embedder_id=self._embedder.id)

    async def _keep(self, progress: _Progress, new: dict[str, FloatArray]) -> None:
        progress.unpublished |= new
        more = progress.left - progress.known
        progress.known = progress.left = progress.left - len(new)
        async with self._storage.session() as s:
            if new:
                await documents.put_vectors(s, new, embedder_id=self._embedder.id)
            held = await jobs.advance(
                s,
                progress.job.locked_by or "",
                progress.job.id,
                step=len(new),
                more=more,
                payload={"unpublished": list(progress.unpublished)},
                now=self._clock.now(),
            )
            if not held:
                raise SystemFailure("The lease of the job is lost.")

    async def _publish(self, progress: _Progress) -> None:
        if progress.unpublished:
            await self._publication.set_vectors(progress.unpublished)
            progress.unpublished = {}
            progress.published_at = self._clock.monotonic()
            await self._keep(progress, {})


def next_size(size: int, *, took_s: float) -> int:
    """How many texts the next call gets."""
    if took_s < SHORT_S:
        return min(MAX_TEXTS, 2 * size)
    return max(MIN_TEXTS, size // 2) if took_s > LONG_S else size
