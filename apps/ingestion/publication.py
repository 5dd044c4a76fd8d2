"""Brings the index in line with the database: what is stored is found, what is gone is not."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from apps.core.domain.ports import Clock, FloatArray
from apps.core.storage import documents
from apps.core.storage.engine import Storage
from apps.ingestion import build
from apps.ingestion.build import IndexRow

DOCUMENTS_AT_ONCE = 500


class Index(Protocol):
    """What builds index versions; blocking. `BuiltIndex` is the real one."""

    def publish(
        self,
        *,
        added: Sequence[IndexRow],
        removed: Collection[str],
        embedder_id: str | None,
        full: bool,
        now: float,
    ) -> str:
        """Make these passages searchable, these documents not; the id of the version."""

    def set_vectors(
        self, vectors: Mapping[str, FloatArray], *, embedder_id: str, now: float
    ) -> str:
        """Give indexed chunks their vectors; the id of the version."""


class BuiltIndex:
    """Index versions in a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(
        self,
        *,
        added: Sequence[IndexRow],
        removed: Collection[str],
        embedder_id: str | None,
        full: bool,
        now: float,
    ) -> str:
        """See `build.publish`."""
        return build.publish(
            self._root,
            added=added,
            removed_doc_ids=removed,
            embedder_id=embedder_id,
            full=full,
            now=now,
        )

    def set_vectors(
        self, vectors: Mapping[str, FloatArray], *, embedder_id: str, now: float
    ) -> str:
        """See `build.set_vectors`."""
        return build.set_vectors(self._root, vectors, embedder_id=embedder_id, now=now)


class Publication:
    """Publishes documents by id; what is published is read from the database at that moment."""

    def __init__(
        self, storage: Storage, index: Index, *, embedder_id: str | None, clock: Clock
    ) -> None:
        self._storage = storage
        self._index = index
        self._embedder_id = embedder_id
        self._clock = clock
        self._turn = asyncio.Lock()

    async def publish(self, doc_ids: Collection[str]) -> None:
        """Make the index agree with the database about these documents; safe to repeat."""
        wanted = list(dict.fromkeys(doc_ids))
        for start in range(0, len(wanted), DOCUMENTS_AT_ONCE):
            await self._publish(wanted[start : start + DOCUMENTS_AT_ONCE])

    async def _publish(self, doc_ids: Sequence[str]) -> None:
        while True:
            async with self._turn:
                seen = await self._checksums(doc_ids)
                await self._write(list(seen), set(doc_ids) - set(seen))
            # Another process may have changed or deleted one between reading and publishing.
            if await self._checksums(doc_ids) == seen:
                return

    async def rebuild(self) -> str:
        """Write the whole index anew from the database; the version's id."""
        async with self._turn:
            rows: list[IndexRow] = []
            last = ""
            while block := await self._ids(after=last):
                rows += await self._rows(block)
                last = block[-1]
            return await asyncio.to_thread(
                self._index.publish,
                added=rows,
                removed=(),
                embedder_id=self._embedder_id,
                full=True,
                now=self._clock.now(),
            )

    async def set_vectors(self, vectors: Mapping[str, FloatArray]) -> None:
        """Give indexed chunks their vectors."""
        if self._embedder_id is None or not vectors:
            return
        async with self._turn:
            await asyncio.to_thread(
                self._index.set_vectors,
                vectors,
                embedder_id=self._embedder_id,
                now=self._clock.now(),
            )

    async def _write(self, present: Sequence[str], gone: Collection[str]) -> None:
        await asyncio.to_thread(
            self._index.publish,
            added=await self._rows(present),
            removed=gone,
            embedder_id=self._embedder_id,
            full=False,
            now=self._clock.now(),
        )

    async def _checksums(self, doc_ids: Collection[str]) -> dict[str, str]:
        async with self._storage.reading() as s:
            return await documents.checksums(s, doc_ids)

    async def _ids(self, *, after: str) -> list[str]:
        async with self._storage.reading() as s:
            return await documents.ids(s, after=after, limit=DOCUMENTS_AT_ONCE)

    async def _rows(self, doc_ids: Sequence[str]) -> list[IndexRow]:
        async with self._storage.reading() as s:
            found = await documents.indexable(s, doc_ids, embedder_id=self._embedder_id)
        return [IndexRow(each.passage, each.vector) for each in found]
