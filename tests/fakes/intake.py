"""An intake that is done with everything at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.api.ports import Job, JobItem, Upload
from apps.core.errors import NotFound


@dataclass
class FakeIntake:
    """Keeps what it was given."""

    uploads: list[Upload] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    documents: set[str] = field(default_factory=set)
    jobs: dict[str, Job] = field(default_factory=dict)
    state: str = "done"

    async def submit(self, uploads: Sequence[Upload]) -> str:
        self.uploads.extend(uploads)
        return self._job([each.name for each in uploads])

    async def submit_url(self, url: str) -> str:
        self.urls.append(url)
        return self._job([url])

    async def remove(self, doc_id: str) -> bool:
        found = doc_id in self.documents
        self.documents.discard(doc_id)
        return found

    async def job(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    async def finished(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise NotFound("There is no such job.")
        return self.jobs[job_id]

    def _job(self, names: Sequence[str]) -> str:
        job_id = f"job{len(self.jobs)}"
        items = [JobItem(name, "stored", (f"doc-{name}",), None, None) for name in names]
        self.jobs[job_id] = Job(
            id=job_id,
            kind="ingest",
            state=self.state,  # type: ignore[arg-type]
            total=len(items),
            finished=len(items),
            items=items,
            error_code=None,
            error=None,
            created_at=1.0,
            updated_at=1.0,
        )
        return job_id
