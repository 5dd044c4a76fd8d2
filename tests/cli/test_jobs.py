"""Jobs that were given up are listed with their reason and can be queued again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from apps.core.settings import load
from apps.core.storage import jobs
from apps.core.storage.engine import Storage
from apps.core.storage.jobs import MAX_FAILURES, Job
from tests.cli.conftest import Typed, body

REASON = ("network_failure", "The index could not be written.")


async def bury(home: Path) -> None:
    """Let a job fail as often as it may."""
    nothing = home / "nothing.env"
    nothing.touch()
    settings = load({"DTRAG_HOME": str(home / "var"), "DTRAG_ENV_FILE": str(nothing)})
    storage = await Storage.open(settings)
    async with storage.session() as s:
        await jobs.enqueue(s, Job("job-1", "ingest", total=2), now=1.0, locked_by="w")
        failed = Job("job-1", "ingest", attempts=MAX_FAILURES)
        await jobs.put_back(s, "w", failed, error=REASON, run_after_at=2.0, now=2.0)
    await storage.close()


def test_a_job_that_was_given_up_can_be_tried_again(dtrag: Typed, home: Path) -> None:
    """It is listed until it is queued again; another name is refused in one sentence."""
    assert body(dtrag("jobs", "list", "--json")) == {"jobs": []}
    assert dtrag("jobs", "list").stdout == "No job was given up.\n"
    asyncio.run(bury(home))
    (row,) = body(dtrag("jobs", "list", "--json"))["jobs"]
    assert (row["id"], row["code"], row["reason"]) == ("job-1", *REASON)
    assert REASON[1] in dtrag("jobs", "list").stdout
    assert dtrag("jobs", "retry", "job-1").returncode == 0
    assert body(dtrag("jobs", "list", "--json")) == {"jobs": []}
    again = dtrag("jobs", "retry", "job-1")
    assert (again.returncode, again.stderr) == (1, "dtrag: No job 'job-1' was given up.\n")
