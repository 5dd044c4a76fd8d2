"""The database of a real service goes away under load, in each way that databases go away."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from bench.outage import Outage, measure

pytestmark = pytest.mark.slow
WORKERS = 2
# Past the lease of a leader and the age at which flags are called stale; bench.outage has 60.
SECONDS = float(os.environ.get("DTRAG_TEST_OUTAGE_S", "6"))
# The limit of a request that asks the database something, and a busy machine.
LONGEST_MS = 3_000.0


@pytest.fixture(scope="module")
def outages(request: pytest.FixtureRequest) -> dict[str, Outage]:
    """Each kind of absence, one after the other, on one service."""

    async def measured() -> dict[str, Outage]:
        found = measure(request.param, (), seconds=SECONDS, workers=WORKERS)
        async with contextlib.aclosing(found) as each:
            return {outage.kind: outage async for outage in each}

    return asyncio.run(measured())


def check(found: Outage) -> None:
    """No request fails, nobody flips, the host's kill works, and all goes on afterwards."""
    assert found.failed == []
    assert found.flipped == 0
    assert max(each.spent_ms for each in found.asked) < LONGEST_MS
    assert found.kill_s < LONGEST_MS / 1e3
    assert found.followed_s < 10.0
    assert found.kept.stored == found.kept.given
    assert found.kept.counted == found.kept.given
    assert found.leaders == 1
    assert found.state == "RUNNING 50 %"


@pytest.mark.parametrize("outages", ["sqlite"], indirect=True)
def test_sqlite_is_locked_or_moved_away(outages: dict[str, Outage]) -> None:
    """A locked file can be read, so the service stays ready; one that is not there cannot."""
    check(outages["locked"])
    check(outages["moved"])
    assert outages["locked"].ready == (200, 200, 200)
    assert outages["moved"].ready == (200, 503, 200)


@pytest.mark.pg
@pytest.mark.parametrize("outages", ["postgresql"], indirect=True)
def test_postgresql_stops_freezes_or_is_cut_off(outages: dict[str, Outage]) -> None:
    """Readiness tells the truth in time, and a lock that a lost connection held is freed."""
    for kind in ("stopped", "frozen", "cut"):
        check(outages[kind])
        assert outages[kind].ready == (200, 503, 200)
        assert outages[kind].ready_s < LONGEST_MS / 1e3
