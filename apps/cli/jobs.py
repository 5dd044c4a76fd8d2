"""`dtrag jobs`: background work that was given up, why, and another try."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.database import open_storage
from apps.cli.output import console, machine, table, told_plainly
from apps.core.errors import NotFound
from apps.core.settings import load

if TYPE_CHECKING:
    from apps.core.storage.jobs import Job

app = typer.Typer(no_args_is_help=True, help="See and repeat background work that was given up.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
@told_plainly()
def list_jobs(json: Json = False) -> None:
    """List jobs that failed each time they were tried, with the reason, newest first."""
    from apps.core.storage import jobs  # noqa: PLC0415 - SQLAlchemy costs a second

    async def work() -> list[Job]:
        async with open_storage(load()) as storage, storage.reading() as s:
            return await jobs.failed(s)

    rows = [_row(job) for job in asyncio.run(work())]
    if json:
        machine({"jobs": rows})
    elif rows:
        table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        console.print("No job was given up.")


@app.command()
@told_plainly()
def retry(job_id: Annotated[str, typer.Argument(help="The job's id.")]) -> None:
    """Queue a job again that was given up; a running service does it."""
    from apps.core.storage import jobs  # noqa: PLC0415

    async def work() -> bool:
        async with open_storage(load()) as storage, storage.session() as s:
            return await jobs.retry(s, job_id, now=time.time())

    if not asyncio.run(work()):
        raise NotFound(f"No job {job_id!r} was given up.")
    console.print(f"{job_id} is queued again.")


def _row(job: Job) -> dict[str, object]:
    at = datetime.fromtimestamp(job.updated_at, UTC).isoformat(timespec="seconds")
    return {
        "id": job.id,
        "kind": job.kind,
        "finished": job.finished,
        "total": job.total,
        "since": at,
        "code": job.error_code,
        "reason": job.error,
    }
