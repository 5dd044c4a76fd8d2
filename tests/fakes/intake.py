"""An intake that is done with everything at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.core.domain.models import JobState
from apps.ingestion.items import ItemView, JobView, NewItem


@dataclass
class FakeIntake:
    """Keeps what it was given."""

    items: list[NewItem] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    documents: set[str] = field(default_factory=set)
    jobs: dict[str, JobView] = field(default_factory=dict)
    state: JobState = "done"

    async def submit(self, items: Sequence[NewItem]) -> str:
        self.items.extend(items)
        return self._job([each.name for each in items])

    async def submit_url(self, url: str) -> str:
        self.urls.append(url)
        return self._job([url])

    async def remove(self, doc_id: str) -> bool:
        found = doc_id in self.documents
        self.documents.discard(doc_id)
        return found

    async def job(self, job_id: str) -> JobView | None:
        return self.jobs.get(job_id)

    async def finished(self, job_id: str) -> JobView:
        return self.jobs[job_id]

    def _job(self, names: Sequence[str]) -> str:
        job_id = f"job{len(self.jobs)}"
        items = tuple(ItemView(name, "stored", (f"doc-{name}",), None, None) for name in names)
        self.jobs[job_id] = JobView(
            id=job_id,
            kind="ingest",
            state=self.state,
            total=len(items),
            finished=len(items),
            attempts=1,
            error_code=None,
            error=None,
            counts={"stored": len(items)},
            items=items,
            created_at=1.0,
            updated_at=1.0,
        )
        return job_id
