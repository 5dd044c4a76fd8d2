"""A rollout on a real service with two workers: real requests, real faults, one vote a unit."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.core.settings import load
from apps.core.storage import rollout_counts
from apps.core.storage.engine import Storage
from apps.core.storage.rollout_counts import Tally
from tests.flows.service import ROOT, Service, running

WORKERS = 2
FLAG = "debate_mode"
QUESTION = "How do I roll a feature back?"
ROLLOUTS = "/api/v1/admin/rollouts"
LADDER = {
    "flag_key": FLAG,
    "stages": [50, 100],
    "policy": {
        "metrics": [{"name": "error"}, {"name": "slow"}],
        "min_control_units": 5,
        "breaker_requests": 100_000,  # so that only the comparison decides
    },
}
pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.pg)])
def address(request: pytest.FixtureRequest) -> str | None:
    """None is the service's own SQLite file."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@contextmanager
def serving(
    home: Path,
    address: str | None,
    fault: str,
    *,
    workers: int = WORKERS,
    command: str = "quickstart",
) -> Iterator[Service]:
    """Workers with the sample documents, one of whose nodes suffers."""
    nothing = home / "nothing.env"
    nothing.touch()
    env = {
        "WORKER_PROCESSES": str(workers),
        "DTRAG_EMBEDDER": "none",
        "DTRAG_ENV_FILE": str(nothing),
        "DTRAG_FAULTS": f"{FLAG}={fault}",
        "ENVIRONMENT": "development",
        "CACHE_ENTRIES": "0",  # every question is a run of its own
        **({"DATABASE_URL": address} if address else {}),
    }
    with running(home, command=command, env=env) as started:
        yield started


def headers(service: Service) -> dict[str, str]:
    """A key without the limits of the one that the service prints."""
    words = ("keys", "create", "--name", "t", "--scopes", "answer,flags:read,flags:write")
    command = [sys.executable, "-m", "apps.cli.main", *words, "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=service.env, capture_output=True, text=True, check=True
    )
    return {"X-API-Key": json.loads(done.stdout)["api_key"]}


def started(service: Service, who: dict[str, str]) -> str:
    """The address of a running rollout."""
    with httpx.Client(base_url=service.url, headers=who, timeout=30) as client:
        made = client.post(ROLLOUTS, json=LADDER).raise_for_status().json()
        place = f"{ROLLOUTS}/{made['id']}"
        client.post(f"{place}/start", json={}).raise_for_status()
    return place


async def asked_until(
    service: Service, who: dict[str, str], place: str, over: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Ask as ever new users, some at once, until the rollout is `over`."""
    numbers, told = itertools.count(), dict[str, Any]()
    async with httpx.AsyncClient(base_url=service.url, headers=who, timeout=60) as client:

        async def ask() -> None:
            while not (told and over(told)) and (number := next(numbers)) < 3_000:
                body = {"question": QUESTION, "user_id": f"user-{number}"}
                (await client.post("/answer", json=body)).raise_for_status()

        async def look() -> None:
            while not (told and over(told)) and next(numbers) < 3_000:
                told.update((await client.get(place)).raise_for_status().json())
                await asyncio.sleep(0.5)

        await asyncio.gather(look(), *(ask() for _ in range(16)))
    return told


def test_a_slow_canary_is_taken_back_for_it(tmp_path: Path, address: str | None) -> None:
    """The controller freezes the limit, both workers judge by it, and the comparison decides."""
    with serving(tmp_path, address, "slow:1.5") as service:
        who = headers(service)
        place = started(service, who)
        over = lambda told: told["state"] != "RUNNING"  # noqa: E731
        told = asyncio.run(asked_until(service, who, place, over))
    assert told["state"] == "ROLLED_BACK"
    slow = next(each for each in told["evidence"] if each["metric"] == "slow")
    assert told["tau"]["slow"] < 1_500
    assert slow["E"] >= 100
    assert sum(slow["S1"]) > sum(slow["S0"])
    assert told["srm_E"] < told["srm_threshold"]


def arm_of(service: Service, who: dict[str, str], user: str) -> str:
    """Which arm a user is in, without counting anybody."""
    place = f"/api/v1/admin/flags/{FLAG}/explain"
    with httpx.Client(base_url=service.url, headers=who) as client:
        told = client.get(place, params={"targeting_key": user, "attr.user_id": user}).json()
    return "canary" if told["value"] else "control"


def test_a_unit_votes_once_whichever_workers_it_meets(tmp_path: Path, address: str | None) -> None:
    """Every request of one user fails, in both workers; it is one vote and one unit."""
    with (
        serving(tmp_path, address, "error:1", workers=1) as one,
        serving(tmp_path, address, "error:1", workers=1, command="serve") as other,
    ):
        who = headers(one)
        place = started(one, who)
        user = next(name for name in map(str, range(50)) if arm_of(one, who, name) == "canary")
        met = [sum(asked(each, who, user) for _ in range(5)) for each in (one, other, one)]
        assert one.stop() == other.stop() == 0
        found = asyncio.run(counted(one, place.rpartition("/")[2]))
    assert min(met) > 0
    assert found["node_error"] == Tally(n=sum(met), bad=1, total=float(sum(met)))
    assert found["units"].n == 1


def asked(service: Service, who: dict[str, str], user: str) -> bool:
    """Whether the request met the flag; a worker may hear of a rollout a moment later."""
    body = {"question": QUESTION, "user_id": user}
    made = httpx.post(f"{service.url}/answer", json=body, headers=who, timeout=30).json()
    return "arm" in made["decision"]["flags"][FLAG]


async def counted(service: Service, rollout_id: str) -> dict[str, Tally]:
    """Counters of the canary."""
    home = {"DTRAG_HOME": service.env["DTRAG_HOME"]}
    storage = await Storage.open(
        load({**home, "DATABASE_URL": service.env.get("DATABASE_URL", "")})
    )
    async with storage.reading() as s:
        found = await rollout_counts.tallies(s, rollout_id, 1)
    await storage.close()
    return {cell.metric: tally for cell, tally in found.items() if cell.arm == "canary"}
