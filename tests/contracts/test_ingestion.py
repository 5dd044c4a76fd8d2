"""The whole way of a document, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from apps.core.settings import Settings
from apps.core.storage.engine import Storage
from apps.ingestion.items import ItemMeta, NewItem
from apps.ingestion.service import Ingestion
from tests.fakes.clock import FakeClock
from tests.fakes.embedder import HashedEmbedder
from tests.fakes.ingestion import DirectParser, MemoryIndex, OnePage


def text(name: str, content: str) -> NewItem:
    return NewItem(name, content.encode(), ItemMeta())


async def test_documents_come_change_and_go(
    storage: Storage, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """Two workers on one queue: stored once, updated, given vectors, removed."""
    index = MemoryIndex()
    settings, clock, embedder = make_settings(), FakeClock(), HashedEmbedder()
    one, other = (
        Ingestion(
            storage, settings, tmp_path, embedder, clock,
            parser=DirectParser(), outbound=OnePage(b""), index=index,
        )
        for _ in range(2)
    )  # fmt: skip
    for number in range(6):
        await one.submit([text(f"{number}.txt", f"{number}번 문장이다."), text("twin", "같은 글.")])
    await asyncio.gather(one.drain(), other.drain())
    assert index.doc_ids == {f"{number}.txt" for number in range(6)} | {"twin"}
    assert set(index.vectors) == set(index.rows)
    job_id = await one.submit([text("0.txt", "바뀐 문장이다."), text("copy", "같은 글.")])
    await other.drain()
    view = await one.job(job_id)
    assert view is not None
    assert [item.state for item in view.items] == ["stored", "duplicate"]
    assert await other.remove("twin")
    assert {row.passage.text for row in index.rows.values() if row.passage.doc_id == "0.txt"} == {
        "바뀐 문장이다."
    }
    assert "twin" not in index.doc_ids
    assert set(index.vectors) == set(index.rows)
