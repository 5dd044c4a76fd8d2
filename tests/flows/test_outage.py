"""The database of a real service goes away under load, in each way that databases go away."""

from __future__ import annotations

import asyncio
import contextlib
import warnings

import pytest

from bench.outage import Outage, measure

pytestmark = pytest.mark.slow
ENGINES = ("sqlite", "postgresql")
# Past the lease of a leader and the age at which flags are called stale; bench.outage has 60.
SECONDS = 5.5
QUIET_S = 0.5
WORKERS = 2
# A request asks the database for a second at most; without a limit it would hang for thirty.
LONGEST_MS = 10_000.0
Outages = dict[tuple[str, str], Outage]


@pytest.fixture(scope="module")
def outages() -> Outages:
    """Each kind of absence on each engine; the engines at the same time."""
    found: Outages = {}

    async def measured(engine: str) -> None:
        every = measure(engine, seconds=SECONDS, workers=WORKERS, quiet_s=QUIET_S)
        async with contextlib.aclosing(every) as each:
            async for outage in each:
                found[engine, outage.kind] = outage

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            for engine in ENGINES:
                group.create_task(measured(engine))

    with warnings.catch_warnings():
        # The server's package asks for a directory that a container lacks.
        warnings.simplefilter("ignore")
        asyncio.run(both())
    return found


KINDS = [("sqlite", "locked"), ("sqlite", "moved")]
KINDS += [("postgresql", kind) for kind in ("stopped", "frozen", "cut")]


@pytest.mark.pg
@pytest.mark.parametrize(("engine", "kind"), KINDS)
def test_no_request_notices_that_the_database_is_away(
    outages: Outages, engine: str, kind: str
) -> None:
    """None fails or waits long, and nobody flips; kills and vetoes of the host are obeyed."""
    found = outages[engine, kind]
    assert found.failed == []
    assert found.flipped == 0
    assert found.longest_ms < LONGEST_MS
    obeyed = found.obeyed
    assert max(obeyed.file, obeyed.rest, obeyed.veto) < LONGEST_MS / 1e3


@pytest.mark.pg
@pytest.mark.parametrize(("engine", "kind"), KINDS)
def test_readiness_tells_the_truth(outages: Outages, engine: str, kind: str) -> None:
    """In time; a SQLite file that is locked can still be read."""
    found = outages[engine, kind]
    assert found.ready == (200, 200 if kind == "locked" else 503, 200)
    assert found.ready_s < LONGEST_MS / 1e3


@pytest.mark.pg
@pytest.mark.parametrize(("engine", "kind"), KINDS)
def test_all_goes_on_when_it_is_back(outages: Outages, engine: str, kind: str) -> None:
    """A change reaches every worker, nothing was lost, one leads, and nothing was decided."""
    found = outages[engine, kind]
    assert found.followed_s < 15.0
    kept = found.kept
    # A commit whose outcome nobody learnt is not repeated, so that nothing counts twice; and
    # what waits for a connection that was forgotten is written when it is given up.
    assert kept.counted <= kept.given
    assert kept.stored <= kept.given
    if kind != "cut":
        assert kept.given == kept.stored == kept.counted
    assert found.leaders == 1
    assert found.state == "RUNNING 50 %"
