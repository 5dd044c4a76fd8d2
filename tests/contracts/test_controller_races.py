"""Controllers of several processes: one decision, and none that is half applied."""

from __future__ import annotations

import asyncio

import pytest

from apps.core.flags.proof import verify_evidence
from apps.core.storage import flag_versions
from apps.core.storage.engine import Storage
from tests.contracts import processes
from tests.contracts.rollout_scene import Scene
from tests.contracts.test_controller import POLICY

RACERS = 4
# Each believes that it leads, which a lost lease makes possible for a moment.
TICKING_PROCESS = """
from apps.core.flags.controller import Controller
from tests.contracts.rollout_scene import AlwaysLeads
from tests.fakes.clock import FakeClock

async def main(storage, now, name):
    controller = Controller(storage, FakeClock(float(now)), name, leader=AlwaysLeads())
    from apps.core.telemetry import logs
    logs.configure("ERROR", json=True, mask=str)
    print("ready", flush=True)
    input()
    done = await controller.tick(float(now))
    print(*(type(action).__name__ for action in done))

run(main)
"""
# Its children die by SIGKILL before the statement of the given number; commits count too. They
# are forked before anything is opened, because starting Python anew for each takes too long.
DYING_PROCESS = """
from sqlalchemy import event
from apps.core.flags.controller import Controller
from tests.contracts.rollout_scene import AlwaysLeads
from tests.fakes.clock import FakeClock

def tick(now, fatal):
    async def main(storage, *_):
        left = [fatal]

        def step(*_):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

        for engine in {storage._writing.sync_engine, storage._reading.sync_engine}:
            event.listen(engine, "before_cursor_execute", step)
            event.listen(engine, "commit", step)
        controller = Controller(storage, FakeClock(now), "w", leader=AlwaysLeads())
        await controller.tick(now)

    run(main)

for fatal in iter(input, "enough"):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        tick(float(sys.argv[2]), int(fatal))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
LEADING_PROCESS = """
from apps.core.storage.leader import leader_of

async def main(storage, name):
    leader = leader_of(storage, name)
    print("ready", flush=True)
    input()
    print(int(await leader.hold()), flush=True)
    input()

run(main)
"""


@pytest.fixture
async def scene(storage: Storage) -> Scene:
    """A rollout whose canary must be rolled back at the next look."""
    made = Scene(storage)
    await made.begin(POLICY)
    await made.traffic(canary=100, control=900, bad={"error": (30, 5)})
    return made


async def test_of_many_controllers_one_decides(database_url: str, scene: Scene) -> None:
    """One rollback, one audit row, one epoch; the others find it done."""
    each = [(database_url, str(scene.clock.now()), f"w{n}") for n in range(RACERS)]
    said = await asyncio.to_thread(processes.race, TICKING_PROCESS, each)
    assert sorted(said) == [""] * (RACERS - 1) + ["Rollback"]
    assert len(await scene.audit()) == 3
    assert await scene.epochs() == {1: "quarantined"}
    row = await scene.row()
    assert (row.state, row.epoch, row.percent) == ("ROLLED_BACK", 2, 0.0)


async def test_a_controller_killed_anywhere_leaves_all_or_nothing(
    database_url: str, scene: Scene
) -> None:
    """SIGKILL before each statement and commit of a tick; the next leader decides once."""
    before, deaths = await scene.row(), 0
    process = processes.start(DYING_PROCESS, database_url, str(scene.clock.now()))
    assert process.stdin is not None
    assert process.stdout is not None
    while await scene.row() == before:
        assert await scene.epochs() == {1: "running"}
        assert len(await scene.audit()) == 2
        process.stdin.write(f"{deaths}\n")
        process.stdin.flush()
        died = await asyncio.to_thread(process.stdout.readline)
        assert died in {"-9\n", "0\n"}
        async with scene.storage.session() as s:
            await flag_versions.lock(s)  # the server may still be burying the dead one
        deaths += 1
    process.communicate("enough\n", timeout=60)
    assert deaths >= 20
    assert await scene.epochs() == {1: "quarantined"}
    newest, *older = await scene.audit()
    assert len(older) == 2
    assert newest.evidence is not None
    assert verify_evidence(newest.evidence)
    assert await scene.tick() == []


async def test_one_of_all_workers_leads(database_url: str, storage: Storage) -> None:
    """Four claims at the same moment; `test_flag_workers` shows who follows one that dies."""
    racing = [processes.start(LEADING_PROCESS, database_url, f"w{n}") for n in range(RACERS)]
    leads = []
    for process in racing:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in racing:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        leads.append(int(process.stdout.readline()))
    for process in racing:
        process.kill()
        process.communicate()
    assert sum(leads) == 1
