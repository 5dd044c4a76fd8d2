"""Four workers of a real service: each follows SQL, the env file, the KILL file and a signal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.core.settings import Settings, load
from apps.core.storage import flag_acks, flags
from apps.core.storage.engine import Storage
from apps.core.storage.flag_acks import Ack
from apps.core.storage.flag_audit import Cause
from bench.propagation import run
from tests.flows.service import Service, running

WORKERS = 4
pytestmark = pytest.mark.slow
CAUSE = Cause("mira", "cli", 1_700_000_000.0)
FLIPS = 12


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.pg)])
def address(request: pytest.FixtureRequest) -> str | None:
    """None is the service's own SQLite file."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def service(tmp_path: Path, address: str | None) -> Iterator[Service]:
    env_file = tmp_path / "flags.env"
    env_file.write_text("# nothing yet\n")
    env = {
        "WORKER_PROCESSES": str(WORKERS),
        "DTRAG_EMBEDDER": "none",
        "DTRAG_ENV_FILE": str(env_file),
        **({"DATABASE_URL": address} if address else {}),
    }
    with running(tmp_path, env=env) as started:
        yield started


def settings_of(service: Service) -> Settings:
    home = {"DTRAG_HOME": service.env["DTRAG_HOME"]}
    return load({**home, "DATABASE_URL": service.env.get("DATABASE_URL", "")})


def acks(service: Service) -> list[Ack]:
    async def asked() -> list[Ack]:
        storage = await Storage.open(settings_of(service))
        async with storage.reading() as s:
            found = await flag_acks.live(s)
        await storage.close()
        return found

    return asyncio.run(asked())


def killed(service: Service) -> int:
    async def kill() -> int:
        storage = await Storage.open(settings_of(service))
        async with storage.session() as s:
            version = (await flags.kill(s, "debate_mode", cause=CAUSE)).version
        await storage.close()
        return version

    return asyncio.run(kill())


def until_all(service: Service, good: Callable[[Ack], bool]) -> list[Ack]:
    """Wait until every worker says so."""
    service.until(lambda: len(now := acks(service)) == WORKERS and all(map(good, now)))
    return acks(service)


def test_all_workers_of_a_service_follow(service: Service, tmp_path: Path) -> None:
    """SQL, an atomic replace of the env file, a bad one, and SIGHUP to each worker."""
    first = until_all(service, lambda ack: ack.version == 0)
    version = killed(service)
    until_all(service, lambda ack: ack.version == version)
    env_file, new = tmp_path / "flags.env", tmp_path / "flags.new"
    new.write_text("FEATURE_META_PLANNER=false\n")
    new.replace(env_file)
    until_all(service, lambda ack: ack.env_vetoes == ("meta_planner",))
    new.write_text("FEATURE_META_PLANNER=auto\nFEATURE_META_PLANER=false\n")
    new.replace(env_file)
    service.until(lambda: service.output().count("env_file_refused") >= WORKERS)
    for ack in first:
        os.kill(int(ack.worker_id.rpartition(":")[2]), signal.SIGHUP)
    service.until(lambda: service.output().count('"by":"SIGHUP"') >= WORKERS)
    again = until_all(service, lambda ack: ack.env_vetoes == ("meta_planner",))
    assert {ack.worker_id for ack in again} == {ack.worker_id for ack in first}
    assert service.stop() == 0
    assert acks(service) == []


def test_a_hangup_of_the_supervisor_leaves_newest_flags(service: Service) -> None:
    """It replaces its workers one by one, and keeps the old one if a new one needs over 5 s."""
    first = {ack.worker_id for ack in until_all(service, lambda ack: ack.version == 0)}
    version = killed(service)
    os.kill(service.process.pid, signal.SIGHUP)
    service.until(
        lambda: (
            "aborting the restart" in service.output()
            or any(ack.worker_id not in first for ack in acks(service))
        )
    )
    service.until(lambda: all(ack.version == version for ack in acks(service)))
    assert service.stop() == 0


def test_no_decision_is_late_after_its_worker_acknowledged(address: str | None) -> None:
    """`python -m bench.propagation` shows the same with 200 changes."""
    found = run("postgresql" if address else "sqlite", flips=FLIPS, workers=WORKERS, url=address)
    assert found.stale == 0
    assert len(found.last_ms) == FLIPS
    assert found.decisions > FLIPS * WORKERS
