"""The controller on both engines: each row of its table end to end, and what it leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete

from apps.core.errors import Blocked, BusinessFailure, NotFound
from apps.core.flags import looks, recheck
from apps.core.flags.decision import Action, Complete, Hold, Kill, Promote, Rollback
from apps.core.flags.node_watch import FAILURES
from apps.core.flags.proof import verify_evidence
from apps.core.flags.rollout_rows import policy_of
from apps.core.storage import flag_acks, flag_exposures, flag_versions, flags, rollout_counts
from apps.core.storage.connections import Session
from apps.core.storage.engine import Storage
from apps.core.storage.flag_acks import Ack
from apps.core.storage.flag_exposures import Exposure, exposure_row
from apps.core.storage.flag_tables import flag_exposure, flag_vote, flag_worker_ack
from tests.contracts.rollout_scene import KEY, Scene

METRICS = (
    {"name": "error", "negligible": 0.02},
    {"name": "quality", "kind": "score"},
    {"name": "node_error", "role": "absolute", "limit": 0.02},
    {"name": "feedback", "role": "signal"},
    {"name": "pii_miss", "role": "absolute", "fatal": 1},
)
POLICY: dict[str, Any] = {"stages": [10, 50, 100], "metrics": METRICS, "soak_s": 600.0}
MINUTE_S = 60.0


@pytest.fixture
def scene(storage: Storage) -> Scene:
    return Scene(storage)


def only(done: list[Action]) -> Action:
    """The one action."""
    (action,) = done
    return action


async def check_evidence(scene: Scene) -> None:
    """What the newest audit row claims follows from its counts, and from the vote log."""
    async with scene.storage.reading() as s:
        checked = await recheck.decisions(s, await scene.row())
    assert checked
    assert all(each.follows and each.logged for each in checked)
    evidence = (await scene.audit())[0].evidence
    assert evidence is not None
    order = evidence["stage_idxs"]
    async with scene.storage.reading() as s:
        votes = await rollout_counts.scores(
            s, scene.rollout_id, evidence["epoch"], metric="quality"
        )
    log = [
        (order.index(vote.stage_idx), vote.arm == "canary", vote.score or 0.0)
        for number, vote in votes
        if number <= evidence["last_vote_id"]
    ]
    assert verify_evidence(evidence, scores={"quality": log})
    forged = {**evidence, "combined_E": evidence["combined_E"] * (1 + 1e-6)}
    assert not verify_evidence(forged)


async def good_traffic(scene: Scene, *, units: int = 4_000) -> None:
    """A harmless canary's stage, up to the end of its dwell."""
    row = await scene.row()
    share = min(row.stages[row.stage_idx], 95.0) / 100
    canary = round(units * share)
    for _ in range(5):
        await scene.traffic(
            canary=canary // 5,
            control=(units - canary) // 5,
            scores={"quality": (0.8, 0.8)},
            repeat=2,
        )
        scene.clock.pass_s(2 * MINUTE_S + 1)


async def test_nothing_is_done_while_the_evidence_is_young(scene: Scene) -> None:
    """A look that finds nothing keeps what it read, and changes nothing else."""
    await scene.begin(POLICY)
    await scene.traffic(canary=10, control=90, bad={"error": (0, 1)})
    before = await scene.row()
    assert await scene.tick() == []
    assert await scene.row() == before
    assert len(await scene.audit()) == 2


async def test_a_good_release_climbs_to_the_top_and_completes(scene: Scene) -> None:
    """Row 7: each step is one audit row whose evidence can be computed again."""
    await scene.begin(POLICY)
    for stage in (1, 2):
        await good_traffic(scene)
        action = only(await scene.tick())
        assert isinstance(action, Promote)
        assert (await scene.row()).stage_idx == stage
        await check_evidence(scene)
    await good_traffic(scene)
    assert isinstance(only(await scene.tick()), Complete)
    done = await scene.row()
    assert (done.state, done.percent, done.holdback) == ("COMPLETED", 100.0, 0.0)
    assert await scene.epochs() == {1: "accepted"}
    await check_evidence(scene)
    assert await scene.tick() == []


async def test_harm_rolls_back_with_its_evidence(scene: Scene) -> None:
    """Row 5: everything at once, and what was learned is quarantined in the same transaction."""
    await scene.begin(POLICY)
    await scene.traffic(
        canary=100, control=900, bad={"error": (12, 5)}, scores={"quality": (0.5, 0.8)}
    )
    action = only(await scene.tick())
    assert isinstance(action, Rollback)
    assert action.reason.startswith("harm:")
    row = await scene.row()
    assert (row.state, row.percent, row.epoch) == ("ROLLED_BACK", 0.0, 2)
    assert await scene.epochs() == {1: "quarantined"}
    audit = await scene.audit()
    assert (audit[0].source, audit[0].after["state"]) == ("controller", "ROLLED_BACK")
    await check_evidence(scene)
    assert await scene.tick() == []
    assert len(await scene.audit()) == len(audit)


async def test_evidence_that_was_not_counted_is_found(scene: Scene) -> None:
    """A vote that is gone, or one that came too much, does not come to the counts of the row."""
    await scene.begin(POLICY)
    await scene.traffic(canary=100, control=900, bad={"error": (12, 5)})
    assert isinstance(only(await scene.tick()), Rollback)
    async with scene.storage.session() as s:
        one = await rollout_counts.votes(s, scene.rollout_id, 1, metrics=("error",), limit=1)
        await s.execute(delete(flag_vote).where(flag_vote.c.id == one[0][0]))
    async with scene.storage.reading() as s:
        (checked,) = await recheck.decisions(s, await scene.row())
    assert (checked.follows, checked.logged) == (True, False)


async def test_a_lower_score_alone_rolls_back(scene: Scene) -> None:
    """The fold of the vote log over several looks gives what one reading of it gives."""
    await scene.begin(POLICY)
    for _ in range(40):
        await scene.traffic(canary=10, control=90, scores={"quality": (0.2, 0.9)})
        done = await scene.tick()
        if done:
            break
    assert isinstance(only(done), Rollback)
    assert only(done).reason == "harm:quality"
    await check_evidence(scene)


async def kill_flag(scene: Scene, s: Session) -> None:
    await flags.kill(s, KEY, cause=scene.cause())


async def kill_all(scene: Scene, s: Session) -> None:
    await flag_versions.kill_all(s, on=True, cause=scene.cause())


@pytest.mark.parametrize("kill", [kill_flag, kill_all])
@pytest.mark.parametrize("held", [False, True])
async def test_a_kill_ends_the_attempt(scene: Scene, kill: Any, held: bool) -> None:
    """Row 1: whoever killed the flag, the rollout follows, also a paused one."""
    await scene.begin(POLICY)
    if held:
        await scene.admin.pause(scene.rollout_id, cause=scene.cause())
    async with scene.storage.session() as s:
        await kill(scene, s)
    assert isinstance(only(await scene.tick()), Kill)
    assert (await scene.row()).state == "KILLED"
    assert await scene.epochs() == {1: "quarantined"}
    await check_evidence(scene)


async def test_a_trigger_rolls_back_with_the_evidence_so_far(scene: Scene) -> None:
    """Row 1: an alarm names the flag; the leader acts, and both rows tell who and why."""
    await scene.begin(POLICY)
    await scene.traffic(canary=10, control=90, scores={"quality": (0.8, 0.8)})
    asked = await scene.admin.trigger(KEY, cause=scene.cause("runbook 7"))
    assert (asked["id"], asked["state"]) == (scene.rollout_id, "RUNNING")
    assert (await scene.admin.get(scene.rollout_id))["trigger"] == "runbook 7"
    assert only(await scene.tick()).reason == "runbook 7"
    await check_evidence(scene)
    done, wanted, *_ = await scene.audit()
    assert (done.source, done.evidence["signs"]["trigger"]) == ("controller", "runbook 7")
    assert (wanted.source, wanted.reason) == ("rest", "runbook 7")
    with pytest.raises(NotFound):
        await scene.admin.trigger(KEY, cause=scene.cause())
    with pytest.raises(BusinessFailure, match="ROLLED_BACK"):
        await scene.admin.trigger(scene.rollout_id, cause=scene.cause())
    await scene.admin.start(scene.rollout_id, cause=scene.cause(), force=True)
    assert await scene.tick() == []


async def test_a_trigger_reaches_a_paused_rollout_and_outlives_a_resume(scene: Scene) -> None:
    """Whoever resumes at the same moment does not lose the alarm."""
    await scene.begin(POLICY)
    await scene.admin.pause(scene.rollout_id, cause=scene.cause())
    await scene.admin.trigger(scene.rollout_id, cause=scene.cause())
    await scene.admin.resume(scene.rollout_id, cause=scene.cause())
    assert only(await scene.tick()).reason == "triggered"


async def test_a_node_that_fails_in_half_of_the_workers_rolls_back(scene: Scene) -> None:
    """Row 1: the leader sees every worker, and what it saw is in the evidence."""
    await scene.begin(POLICY)
    await scene.report("w1", failed=FAILURES)
    await scene.report("w2")
    await scene.report("w3", failed=FAILURES - 1)
    assert await scene.tick() == []
    await scene.report("w3", failed=FAILURES)
    assert only(await scene.tick()).reason == "unhealthy"
    await check_evidence(scene)
    evidence = (await scene.audit())[0].evidence
    nodes = [{"worker": f"w{n}", "runs": 1, "failed_units": 0} for n in (1, 2, 3)]
    assert not verify_evidence({**evidence, "signs": {**evidence["signs"], "nodes": nodes}})


async def test_a_new_attempt_begins_with_a_healthy_node(scene: Scene) -> None:
    """What workers say of the attempt before counts no more."""
    await scene.begin(POLICY)
    await scene.report("w1", failed=FAILURES)
    await scene.tick()
    await scene.admin.start(scene.rollout_id, cause=scene.cause(), force=True)
    assert await scene.tick() == []


@pytest.mark.parametrize("named", [KEY, "*"])
async def test_the_kill_file_of_any_host_ends_the_attempt(scene: Scene, named: str) -> None:
    """Row 1: a local kill is a kill; nobody judges on the silence that it makes."""
    await scene.begin(POLICY)
    await scene.report("w1", kills=("other",))
    assert await scene.tick() == []
    await scene.report("w2", kills=(named,))
    assert isinstance(only(await scene.tick()), Kill)
    row = await scene.row()
    assert (row.state, row.percent) == ("KILLED", 0.0)
    assert (await scene.audit())[0].evidence["signs"]["kills"] == ["/srv/KILL on w2-host"]
    await check_evidence(scene)
    with pytest.raises(BusinessFailure, match="/srv/KILL on w2-host"):
        await scene.admin.start(scene.rollout_id, cause=scene.cause(), force=True)


async def test_a_veto_of_a_host_holds(scene: Scene) -> None:
    """Row 1: the flag is off there already; a person resumes when the veto is gone."""
    await scene.begin(POLICY)
    async with scene.storage.session() as s:
        await flag_acks.put(s, Ack("w9", "host-9", 1, (KEY,)))
    action = only(await scene.tick())
    assert isinstance(action, Hold)
    assert (await scene.row()).hold_reason == "env_veto"
    assert (await scene.admin.get(scene.rollout_id))["vetoes"] == [
        "host-9: FEATURE_DEBATE_MODE=false"
    ]
    assert await scene.tick() == []
    await check_evidence(scene)
    await scene.admin.resume(scene.rollout_id, cause=scene.cause("that host stays off"))
    assert await scene.tick() == []
    await scene.admin.promote(scene.rollout_id, cause=scene.cause(), force=True)
    assert isinstance(only(await scene.tick()), Hold)


async def test_most_requests_failing_breaks_the_canary_off(scene: Scene) -> None:
    """Row 2: half of 20 requests and of their units are enough, without statistics."""
    await scene.begin(POLICY)
    names = [f"{n:032x}" for n in range(20)]
    await scene.traffic(canary=20, control=20, bad={"node_error": (11, 0)})
    await sampled(scene, names)
    action = only(await scene.tick())
    assert isinstance(action, Rollback)
    assert action.reason == "breaker"


async def test_one_failing_customer_does_not_break_it_off(scene: Scene) -> None:
    """Row 2: many bad requests of one unit among several are no breakdown."""
    await scene.begin(POLICY)
    await scene.traffic(canary=1, control=54, bad={"node_error": (1, 0)}, repeat=30)
    await scene.traffic(canary=5, control=0)
    await sampled(scene, [f"{n:032x}" for n in (0, 55, 56, 57, 58, 59)])
    assert await scene.tick() == []


async def sampled(scene: Scene, units: list[str]) -> None:
    """Exposures of canary units, as the recorder samples them."""
    row, now = await scene.row(), scene.clock.now()
    async with scene.storage.session() as s:
        for at, unit in enumerate(units):
            one = Exposure(
                f"x{at}", KEY, "canary", unit, f"r{at}", KEY, now, row.id, row.epoch, row.stage_idx
            )
            await s.execute(flag_exposure.insert().values(exposure_row(one)))
    async with scene.storage.reading() as s:
        seen = flag_exposures.Seen(row.id, row.epoch, "canary", now - 60)
        assert await flag_exposures.units(s, seen) == set(units)


async def test_leaked_personal_data_roll_back_at_once(scene: Scene) -> None:
    """Row 2: one event is enough."""
    await scene.begin(POLICY)
    await scene.traffic(canary=30, control=270, bad={"pii_miss": (1, 0)})
    assert only(await scene.tick()).reason == "breaker"


async def test_workers_that_die_again_and_again_roll_back(scene: Scene) -> None:
    """Row 2: three incidents; workers of one host that stop together are one."""
    await scene.begin(POLICY)
    scene.clock.pass_s(5 * MINUTE_S)
    for ages, crashed in (([60.0, 61.0, 62.0], False), ([60.0, 100.0, 140.0], True)):
        async with scene.storage.session() as s:
            for number, age in enumerate(ages):
                await flag_acks.put(s, Ack(f"dead{number}", "h", 1))
                dead = flag_worker_ack.c.worker_id == f"dead{number}"
                older = flag_acks.database_now(s) - age
                await s.execute(flag_worker_ack.update().where(dead).values(at=older))
        await scene.traffic(canary=30, control=270)
        done = await scene.tick()
        assert bool(done) == crashed
    assert only(done).reason == "crash_loop"


async def test_a_skewed_split_holds(scene: Scene) -> None:
    """Row 3: nobody knows what is compared; the test may not convict."""
    await scene.begin(POLICY)
    await scene.traffic(canary=400, control=900, bad={"error": (30, 5)})
    assert isinstance(only(await scene.tick()), Hold)
    assert (await scene.row()).hold_reason == "srm"
    assert await scene.tick() == []
    await scene.admin.resume(scene.rollout_id, cause=scene.cause("known split"))
    assert (await scene.row()).state == "RUNNING"


async def test_silence_holds(scene: Scene) -> None:
    """Row 4: ten minutes without data, or with too little of the control."""
    await scene.begin(POLICY)
    await scene.traffic(canary=50, control=450)
    scene.clock.pass_s(9 * MINUTE_S)
    assert await scene.tick() == []
    scene.clock.pass_s(2 * MINUTE_S)
    assert isinstance(only(await scene.tick()), Hold)
    assert (await scene.row()).hold_reason == "no_data"


async def test_a_unit_that_many_workers_met_is_one_of_the_control(scene: Scene) -> None:
    """Each worker tells it once; what they tell together is divided, and the sample is believed."""
    row = await scene.begin(POLICY)
    for _ in range(2):
        scene.clock.pass_s(6 * MINUTE_S)
        async with scene.storage.session() as s:
            for worker in range(4):
                await flag_acks.put(s, Ack(f"w{worker}", "host", 1, ()))
        await scene.traffic(canary=5, control=4 * 30)
    policy = policy_of(row)
    assert policy.min_control_units == 50
    async with scene.storage.reading() as s:
        look = await looks.read(s, await scene.row(), now=scene.clock.now())
    assert look.counters.recent.control_units == 4 * 30 * 2 // 8
    assert only(await scene.tick()).reason == "no_data"


async def test_a_signal_holds_until_a_person_overrules_it(scene: Scene) -> None:
    """Row 6: thumbs down only stop; a resume waives this signal in this stage."""
    await scene.begin(POLICY)
    await scene.traffic(canary=100, control=900, bad={"feedback": (9, 9)})
    await scene.tick()
    assert (await scene.row()).hold_reason == "signal:feedback"
    await scene.admin.resume(scene.rollout_id, cause=scene.cause("read them all"))
    assert await scene.tick() == []
    assert (await scene.row()).state == "RUNNING"


async def test_a_stage_that_never_decides_asks_a_person(scene: Scene) -> None:
    """Row 8: after seven days, and again seven days after a resume that does not waive it."""
    policy = {**POLICY, "max_stage_requests": 900, "dwell_s": 60.0}
    await scene.begin(policy)
    scene.clock.pass_s(2 * MINUTE_S)
    await scene.traffic(canary=95, control=900, bad={"error": (2, 18)})
    assert isinstance(only(await scene.tick()), Hold)
    assert (await scene.row()).hold_reason == "inconclusive"
    await scene.admin.resume(scene.rollout_id, cause=scene.cause())
    assert await scene.tick() == []


async def test_a_forced_stage_is_left_to_the_person(scene: Scene) -> None:
    """After a promote against the blockers the test only advises; plain harm still acts."""
    await scene.begin(POLICY)
    with pytest.raises(Blocked, match="dwell"):
        await scene.admin.promote(scene.rollout_id, cause=scene.cause())
    await scene.admin.promote(scene.rollout_id, cause=scene.cause(), force=True)
    await scene.traffic(canary=500, control=500, bad={"error": (60, 5)})
    assert await scene.tick() == []
    assert (await scene.admin.get(scene.rollout_id))["advice"] == "harm"
    await scene.traffic(canary=1, control=1, bad={"pii_miss": (1, 0)})
    assert isinstance(only(await scene.tick()), Rollback)


async def test_a_pause_stays_until_a_person_resumes(scene: Scene) -> None:
    """Neither good nor bad evidence moves it."""
    await scene.begin(POLICY)
    await scene.admin.pause(scene.rollout_id, cause=scene.cause())
    await scene.traffic(canary=100, control=900, bad={"error": (30, 5)})
    assert await scene.tick() == []
    assert (await scene.row()).state == "HELD"


async def test_a_rollback_is_final_until_a_person_starts(scene: Scene) -> None:
    """A cool-down, a new epoch with empty counters, and the α that was spent."""
    await scene.begin(POLICY)
    await scene.admin.roll_back(scene.rollout_id, cause=scene.cause())
    for _ in range(3):
        assert await scene.tick() == []
    with pytest.raises(BusinessFailure, match="cools down"):
        await scene.admin.start(scene.rollout_id, cause=scene.cause())
    started = await scene.admin.start(scene.rollout_id, cause=scene.cause(), force=True)
    assert (started["state"], started["epoch"]) == ("RUNNING", 2)
    assert (await scene.audit())[0].evidence == {"alpha": 0.01, "alpha_spent_30d": 0.01}
    assert (await scene.admin.get(scene.rollout_id))["arms"]["canary"]["units"] == 0


async def test_who_lost_the_lead_does_nothing(scene: Scene) -> None:
    """The claim is asked again between the look and the deed."""
    await scene.begin(POLICY)
    await scene.traffic(canary=100, control=900, bad={"error": (30, 5)})
    scene.leader.leads = False
    assert await scene.tick() == []
    scene.leader.leads = True
    assert isinstance(only(await scene.tick()), Rollback)


async def test_one_broken_rollout_does_not_stop_the_others(scene: Scene) -> None:
    """A policy that nobody can read is logged; the next rollout is still looked at."""
    broken = await scene.begin(POLICY)
    from apps.core.storage.flag_tables import flag_rollout

    async with scene.storage.session() as s:
        mine = flag_rollout.c.id == broken.id
        await s.execute(
            flag_rollout.update().where(mine).values(flag_key="other", policy={"nonsense": 1})
        )
    await scene.begin(POLICY)
    await scene.traffic(canary=100, control=900, bad={"error": (30, 5)})
    assert isinstance(only(await scene.tick()), Rollback)
