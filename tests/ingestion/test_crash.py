"""SIGKILL at every step of a job: after a restart it goes on, nothing lost, nothing doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.core.domain.models import SearchQuery
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.core.settings import Settings
from apps.core.storage import documents, jobs
from apps.core.storage.engine import Storage
from apps.ingestion.items import NewItem
from apps.ingestion.parse import ROOT
from apps.ingestion.service import Ingestion
from tests.fakes.clock import FakeClock
from tests.fakes.embedder import HashedEmbedder
from tests.ingestion.crash_process import POINTS

LINES = 50
FILES = 6


def run(home: Path, *point: str) -> int:
    command = [sys.executable, "-m", "tests.ingestion.crash_process", str(home), *point]
    return subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode


def upload() -> list[NewItem]:
    many = "\n".join(f'{{"id":"d{n}","text":"줄 {n}에 적힌 문장이다."}}' for n in range(LINES))
    single = [NewItem(f"{n}.txt", f"파일 {n}에 적힌 문장이다.".encode()) for n in range(FILES)]
    return [*single[:3], NewItem("many.jsonl", many.encode()), *single[3:]]


@pytest.mark.slow
async def test_a_killed_worker_costs_nothing(
    storage: Storage, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """One job whose worker is killed at twelve points in turn ends as if it never had been."""
    settings = make_settings()
    embedder = HashedEmbedder()
    service = Ingestion(storage, settings, settings.artifacts_dir, embedder, FakeClock(1e9))
    job_id = await service.submit(upload())
    survived = [point for point in POINTS if run(tmp_path, point) != -signal.SIGKILL]
    assert survived == []
    assert run(tmp_path) == 0
    view = await service.job(job_id)
    assert view is not None
    assert (view.state, view.total, view.finished) == ("done", LINES + FILES, LINES + FILES)
    assert view.counts["stored"] == FILES + 1
    async with storage.reading() as s:
        assert await documents.count(s) == LINES + FILES
        assert await documents.count_waiting(s, embedder.id) == 0
        assert await jobs.pending(s, ("ingest", "delete", "embed")) is None
        assert await jobs.listed(s, state="failed") == []
    search = Search(settings.artifacts_dir, embedder=embedder, options=SearchOptions())
    search.refresh()
    assert (search.passages, search.vectors) == (LINES + FILES, LINES + FILES)
    result = await search.search(SearchQuery("줄 7에 적힌 문장", top_k=50))
    found = [hit.passage.chunk_id for hit in result.hits]
    assert len(found) == len(set(found))
    assert result.hits[0].passage.doc_id == "d7"
    await service.close()
