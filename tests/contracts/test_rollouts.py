"""Rollouts in SQL on both engines: each move is whole, single, and allowed to its actor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from apps.core.errors import BusinessFailure
from apps.core.storage import (
    changes,
    flag_audit,
    flag_versions,
    flags,
    learning_epochs,
    rollout_moves,
    rollouts,
)
from apps.core.storage.engine import Session, Storage
from apps.core.storage.flag_audit import AuditFilter, AuditRow, Cause
from apps.core.storage.rollouts import Rollout, RolloutWish
from tests.contracts import processes

KEY = "debate_mode"
NOW = 1_800_000_000.0
DAY_S = 86_400.0
ME = Cause("key:abc", "rest", NOW, "시작")
ROBOT = Cause("controller", "controller", NOW + 60, "E", {"E": 123.5, "S1": 3, "S0": 0, "w": 0.1})
WISH = RolloutWish(KEY, (5.0, 25.0, 100.0), "s1", holdback=5.0, policy={"auto_promote": True})
RACERS = 4

Move = Callable[[Session, Rollout], Awaitable[Rollout | None]]
MOVES: dict[str, Move] = {
    "start": lambda s, seen: rollout_moves.start(s, seen, cause=ME, alpha=0.01),
    "pause": lambda s, seen: rollout_moves.pause(s, seen, cause=ME),
    "hold": lambda s, seen: rollout_moves.hold(s, seen, cause=ROBOT, hold_reason="srm"),
    "resume": lambda s, seen: rollout_moves.resume(s, seen, cause=ME),
    "promote": lambda s, seen: rollout_moves.promote(s, seen, cause=ROBOT),
    "force": lambda s, seen: rollout_moves.promote(s, seen, cause=ME),
    "complete": lambda s, seen: rollout_moves.complete(s, seen, cause=ROBOT),
    "roll_back": lambda s, seen: rollout_moves.roll_back(s, seen, cause=ROBOT),
    "kill": lambda s, seen: rollout_moves.kill(s, seen, cause=ROBOT),
}
ALLOWED = {
    "DRAFT": {"start"},
    "RUNNING": {"pause", "hold", "promote", "force", "roll_back", "kill"},
    "HELD": {"resume", "force", "roll_back", "kill"},
    "ROLLED_BACK": {"start"},
    "KILLED": {"start"},
    "COMPLETED": set(),
}

ROLLING_BACK_PROCESS = """
from apps.core.storage import rollout_moves, rollouts
from apps.core.storage.flag_audit import Cause

async def main(storage, rollout_id, name, move):
    async with storage.reading() as s:
        seen = await rollouts.find(s, rollout_id)
    print("ready", flush=True)
    input()
    async with storage.session() as s:
        cause = Cause(name, "controller", 2.0, evidence={"E": 100.0})
        moved = await getattr(rollout_moves, move)(s, seen, cause=cause)
    print("won" if moved else "lost")

run(main)
"""

# It dies by SIGKILL before the statement of the given number, counted from 0; the commit is one.
DYING_PROCESS = """
from sqlalchemy import event
from apps.core.storage import rollout_moves, rollouts
from apps.core.storage.flag_audit import Cause

async def main(storage, rollout_id, move, fatal):
    async with storage.reading() as s:
        seen = await rollouts.find(s, rollout_id)
    left = [int(fatal)]

    def step(*_):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    engine = storage._writing.sync_engine
    async with storage.session() as s:
        event.listen(engine, "before_cursor_execute", step)
        event.listen(engine, "commit", step)
        cause = Cause("controller", "controller", 2.0, evidence={"E": 100.0})
        await getattr(rollout_moves, move)(s, seen, cause=cause)
    print("survived")

run(main)
"""


async def create(storage: Storage, wish: RolloutWish = WISH) -> Rollout:
    """A draft."""
    async with storage.session() as s:
        return await rollouts.create(s, wish, cause=ME)


async def move(storage: Storage, seen: Rollout, *names: str) -> Rollout:
    """The rollout after committed moves."""
    for name in names:
        async with storage.session() as s:
            moved = await MOVES[name](s, seen)
        assert moved is not None, name
        seen = moved
    return seen


async def reach(storage: Storage, state: str) -> Rollout:
    """A rollout in a state, at its first stage (COMPLETED: at its last)."""
    ways = {
        "DRAFT": (), "RUNNING": ("start",), "HELD": ("start", "hold"),
        "ROLLED_BACK": ("start", "roll_back"), "KILLED": ("start", "kill"),
        "COMPLETED": ("start", "promote", "promote", "complete"),
    }  # fmt: skip
    return await move(storage, await create(storage), *ways[state])


async def find(storage: Storage, rollout_id: str) -> Rollout:
    """The rollout as it is stored."""
    async with storage.reading() as s:
        found = await rollouts.find(s, rollout_id)
    assert found is not None
    return found


async def audit(storage: Storage) -> list[AuditRow]:
    """Every audit row, the newest first."""
    async with storage.reading() as s:
        assert (await flag_audit.verify(s)).ok
        return await flag_audit.listed(s, AuditFilter())


async def epochs(storage: Storage) -> dict[int, str]:
    """The state of each attempt of the one rollout."""
    async with storage.reading() as s:
        return {
            epoch: state for (_, epoch), state in (await learning_epochs.states(s, KEY)).items()
        }


async def versions(storage: Storage) -> tuple[int, int]:
    """The version of the flags, and the one that workers watch."""
    watch = await changes.open_watch(storage.url)
    async with storage.reading() as s:
        found = (await flag_versions.read(s)).version, watch.version(flag_versions.TOPIC)
    await watch.close()
    return found


async def test_a_draft_comes_back_as_it_was_made(storage: Storage) -> None:
    """Nothing is on, nothing has begun, and the first attempt will be number one."""
    draft = await create(storage)
    assert await find(storage, draft.id) == draft
    assert (draft.state, draft.percent, draft.epoch, draft.version) == ("DRAFT", 0.0, 1, 1)
    assert (draft.stages, draft.holdback, draft.salt) == ((5.0, 25.0, 100.0), 5.0, "s1")
    assert draft.bucket_by == ("user_id", "session_id", "request_id")
    async with storage.reading() as s:
        assert await rollouts.find(s, "nothing") is None


async def test_an_experiment_has_arms(storage: Storage) -> None:
    """Two or more variants with weights instead of canary and control."""
    wish = replace(WISH, kind="experiment", arms={"on": 50, "off": 50})
    assert (await find(storage, (await create(storage, wish)).id)).arms == {"on": 50, "off": 50}


async def test_a_start_begins_the_first_stage(storage: Storage) -> None:
    """Share, times, the attempt, and what a person did."""
    running = await reach(storage, "RUNNING")
    assert (running.state, running.stage_idx, running.percent) == ("RUNNING", 0, 5.0)
    assert (running.started_at, running.stage_started_at) == (NOW, NOW)
    assert running.last_human_action["actor"] == "key:abc"
    assert await epochs(storage) == {1: "running"}
    assert (await audit(storage))[0].evidence == {"alpha": 0.01, "alpha_spent_30d": 0.0}


async def test_a_promotion_takes_the_next_stage(storage: Storage) -> None:
    """The limits of the old stage go; the actor was no person."""
    started = await reach(storage, "RUNNING")
    async with storage.session() as s:
        frozen = await rollout_moves.freeze_tau(s, started, {"slow": 1.5}, now=NOW + 1)
    assert frozen.tau == {"slow": 1.5}
    promoted = await move(storage, frozen, "promote")
    assert (promoted.stage_idx, promoted.percent, promoted.tau) == (1, 25.0, None)
    assert (promoted.started_at, promoted.stage_started_at) == (NOW, NOW + 60)
    assert promoted.last_human_action == started.last_human_action


async def test_freezing_limits_is_seen_by_workers_but_is_no_change(storage: Storage) -> None:
    """The version moves, the audit does not; an outdated reader freezes nothing."""
    started = await reach(storage, "RUNNING")
    before = await versions(storage)
    async with storage.session() as s:
        assert await rollout_moves.freeze_tau(s, started, {"slow": 1.5}, now=NOW + 1)
    async with storage.session() as s:
        assert await rollout_moves.freeze_tau(s, started, {"slow": 9.9}, now=NOW + 1) is None
    assert await versions(storage) == (before[0] + 1, before[1] + 1)
    assert (await find(storage, started.id)).tau == {"slow": 1.5}
    assert len(await audit(storage)) == 2


async def test_a_hold_keeps_the_share_and_a_resume_goes_on(storage: Storage) -> None:
    """Whoever has the flag keeps it while people think."""
    held = await reach(storage, "HELD")
    assert (held.state, held.percent, held.hold_reason) == ("HELD", 5.0, "srm")
    resumed = await move(storage, held, "resume")
    assert (resumed.state, resumed.percent, resumed.hold_reason) == ("RUNNING", 5.0, None)
    assert (await move(storage, resumed, "pause")).hold_reason == "paused"


async def test_a_rollback_is_everything_at_once(storage: Storage) -> None:
    """Share 0, the next attempt's number, the evidence, the quarantine, and the version."""
    running = await reach(storage, "RUNNING")
    before = await versions(storage)
    rolled = await move(storage, running, "roll_back")
    assert (rolled.state, rolled.percent, rolled.epoch) == ("ROLLED_BACK", 0.0, 2)
    assert await epochs(storage) == {1: "quarantined"}
    row = (await audit(storage))[0]
    assert (row.source, row.flag_key, row.evidence) == ("controller", KEY, ROBOT.evidence)
    assert (row.before["percent"], row.after["percent"]) == (5.0, 0.0)
    assert await versions(storage) == (before[0] + 1, before[1] + 1)


async def test_a_completion_accepts_what_was_learned(storage: Storage) -> None:
    """Everybody has the flag, without holdback; the merge is in the audit."""
    completed = await reach(storage, "COMPLETED")
    assert (completed.state, completed.percent, completed.holdback) == ("COMPLETED", 100.0, 0.0)
    assert await epochs(storage) == {1: "accepted"}
    assert (await audit(storage))[0].after["state"] == "COMPLETED"


@pytest.mark.parametrize("end", ["roll_back", "kill"])
async def test_a_restart_is_a_new_attempt(storage: Storage, end: str) -> None:
    """It states the α that was spent, and may draw another cohort; the old one stays closed."""
    ended = await move(storage, await reach(storage, "RUNNING"), end)
    async with storage.session() as s:
        again = await rollout_moves.start(s, ended, cause=ME, alpha=0.02, salt="s2")
    assert (again.epoch, again.salt, again.percent) == (2, "s2", 5.0)
    assert await epochs(storage) == {1: "quarantined", 2: "running"}
    assert (await audit(storage))[0].evidence == {"alpha": 0.02, "alpha_spent_30d": 0.01}
    async with storage.reading() as s:
        assert await learning_epochs.alpha_spent(s, KEY, since=NOW) == pytest.approx(0.03)
        assert await learning_epochs.alpha_spent(s, KEY, since=NOW + 1) == 0.0
        assert await learning_epochs.alpha_spent(s, "other", since=0.0) == 0.0


async def test_alpha_is_forgotten_after_thirty_days(storage: Storage) -> None:
    """An attempt that began earlier is not stated."""
    ended = await reach(storage, "ROLLED_BACK")
    later = replace(ME, at=NOW + 31 * DAY_S)
    async with storage.session() as s:
        await rollout_moves.start(s, ended, cause=later, alpha=0.01)
    assert (await audit(storage))[0].evidence["alpha_spent_30d"] == 0.0


async def test_an_epoch_is_decided_once(storage: Storage) -> None:
    """What was quarantined is never accepted."""
    ended = await reach(storage, "ROLLED_BACK")
    async with storage.session() as s:
        assert not await learning_epochs.end(s, ended.id, 1, state="accepted", now=NOW)
    assert await epochs(storage) == {1: "quarantined"}


@pytest.mark.parametrize("state", ALLOWED)
async def test_only_the_moves_of_the_table_exist(storage: Storage, state: str) -> None:
    """Every other move is refused by name and leaves the rollout as it was."""
    seen = await reach(storage, state)
    for name in MOVES.keys() - ALLOWED[state]:
        with pytest.raises(BusinessFailure):
            await move(storage, seen, name)
        assert await find(storage, seen.id) == seen


async def test_the_automatic_actor_never_turns_more_on(storage: Storage) -> None:
    """It does not start, resume, skip or repeat a stage, or touch a held one."""
    draft = await create(storage)
    running = await move(storage, draft, "start")
    robots: list[tuple[Rollout, Move]] = [
        (draft, lambda s, seen: rollout_moves.start(s, seen, cause=ROBOT, alpha=0.01)),
        (running, lambda s, seen: rollout_moves.promote(s, seen, cause=ROBOT, to_stage=2)),
        (running, lambda s, seen: rollout_moves.promote(s, seen, cause=ROBOT, to_stage=0)),
    ]
    held = await move(storage, running, "hold")
    robots += [
        (held, lambda s, seen: rollout_moves.resume(s, seen, cause=ROBOT)),
        (held, MOVES["promote"]),
    ]
    for seen, attempt in robots:
        with pytest.raises(BusinessFailure):
            async with storage.session() as s:
                await attempt(s, seen)
    assert await find(storage, held.id) == held


async def test_a_person_may_choose_any_stage_that_exists(storage: Storage) -> None:
    """Forward, back, but not beyond the ladder."""
    running = await reach(storage, "RUNNING")
    async with storage.session() as s:
        last = await rollout_moves.promote(s, running, cause=ME, to_stage=2)
        first = await rollout_moves.promote(s, last, cause=ME, to_stage=0)
    assert (last.percent, first.percent) == (100.0, 5.0)
    for stage in (-1, 0, 3):
        with pytest.raises(BusinessFailure):
            async with storage.session() as s:
                await rollout_moves.promote(s, first, cause=ME, to_stage=stage)


async def test_a_flag_has_one_rollout_at_a_time(storage: Storage) -> None:
    """A second one starts when the first has ended."""
    first = await reach(storage, "HELD")
    second = await create(storage)
    with pytest.raises(BusinessFailure, match=first.id):
        await move(storage, second, "start")
    await move(storage, first, "roll_back")
    assert (await move(storage, second, "start")).state == "RUNNING"


async def test_who_has_not_seen_the_last_move_moves_nothing(storage: Storage) -> None:
    """The version decides; the loser leaves no audit row and no epoch."""
    running = await reach(storage, "RUNNING")
    await move(storage, running, "hold")
    before = (await versions(storage), len(await audit(storage)))
    async with storage.session() as s:
        assert await MOVES["roll_back"](s, running) is None
        assert await MOVES["promote"](s, running) is None
    assert (await versions(storage), len(await audit(storage))) == before
    assert await epochs(storage) == {1: "running"}


async def test_a_load_shows_the_rollout_that_was_started_last(storage: Storage) -> None:
    """No drafts, and of several attempts and ladders the newest."""
    first = await reach(storage, "ROLLED_BACK")
    second = await create(storage)
    await create(storage, replace(WISH, flag_key="reranker"))
    async with storage.reading() as s:
        assert (await flags.load_flags(s)).rollouts == (first,)
    async with storage.session() as s:
        later = replace(ME, at=NOW + 5)
        running = await rollout_moves.start(s, second, cause=later, alpha=0.01)
    async with storage.reading() as s:
        assert (await flags.load_flags(s)).rollouts == (running,)
        assert await rollouts.active(s, KEY) == running
        assert await rollouts.active(s, "reranker") is None


async def test_rollouts_are_listed_newest_first(storage: Storage) -> None:
    """By flag and state, a page at a time."""
    made = []
    for number, key in enumerate(["a", "b", "a"]):
        async with storage.session() as s:
            cause = replace(ME, at=NOW + number)
            made.append(await rollouts.create(s, replace(WISH, flag_key=key), cause=cause))
    async with storage.reading() as s:
        assert await rollouts.listed(s) == made[::-1]
        assert await rollouts.listed(s, flag_key="a") == [made[2], made[0]]
        assert await rollouts.listed(s, states=("RUNNING",)) == []
        assert await rollouts.listed(s, after=made[2], limit=1) == [made[1]]


async def test_of_racing_controllers_one_decides(database_url: str, storage: Storage) -> None:
    """Four processes that saw the same rollout: one rollback, one audit row, one epoch."""
    running = await reach(storage, "RUNNING")
    each = [(database_url, running.id, f"c{n}", "roll_back") for n in range(RACERS)]
    assert sorted(processes.race(ROLLING_BACK_PROCESS, each)) == ["lost"] * (RACERS - 1) + ["won"]
    assert (await find(storage, running.id)).epoch == 2
    assert len(await audit(storage)) == 3


async def test_of_racing_decisions_one_is_taken(database_url: str, storage: Storage) -> None:
    """A rollback, a promotion and a kill of the same sight exclude each other."""
    running = await reach(storage, "RUNNING")
    names = ("roll_back", "promote", "kill", "promote")
    each = [(database_url, running.id, name, name) for name in names]
    said = processes.race(ROLLING_BACK_PROCESS, each)
    assert sorted(said) == ["lost"] * (RACERS - 1) + ["won"]
    expected = {"roll_back": "ROLLED_BACK", "promote": "RUNNING", "kill": "KILLED"}
    assert (await find(storage, running.id)).state == expected[names[said.index("won")]]
    assert len(await audit(storage)) == 3


async def test_a_process_killed_anywhere_in_a_rollback_leaves_nothing(
    database_url: str, storage: Storage
) -> None:
    """SIGKILL before every statement and before the commit; the next controller decides afresh."""
    running = await reach(storage, "RUNNING")
    before = (await versions(storage), await epochs(storage), await audit(storage))
    deaths = 0
    while True:
        process = processes.start(DYING_PROCESS, database_url, running.id, "roll_back", str(deaths))
        printed, error = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -9, error
        async with storage.session() as s:
            await flag_versions.lock(s)  # the server may still be burying the dead one
        assert await find(storage, running.id) == running
        assert (await versions(storage), await epochs(storage), await audit(storage)) == before
        deaths += 1
    assert printed == "survived\n"
    assert deaths >= 9  # eight statements and the commit
    assert (await find(storage, running.id)).state == "ROLLED_BACK"
    assert await epochs(storage) == {1: "quarantined"}
    assert len(await audit(storage)) == 3
