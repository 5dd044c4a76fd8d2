"""People change flags: what takes effect, what is refused, and what the audit says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from apps.core.domain.flags import FlagDecision
from apps.core.errors import (
    BadDefinition,
    BusinessFailure,
    EnvironmentVeto,
    NotFound,
    PrerequisiteCycle,
    StorageDown,
    VersionConflict,
)
from apps.core.flags.admin import FlagAdmin, Wish
from apps.core.flags.catalogue import Environment, HostWord
from apps.core.flags.context import foreign_context
from apps.core.flags.definition import parse_document
from apps.core.flags.edits import Edit
from apps.core.storage import flag_acks, flag_versions, rollout_moves, rollouts
from apps.core.storage.engine import Storage
from apps.core.storage.flag_acks import Ack
from apps.core.storage.flag_audit import AuditFilter, AuditRow, Cause
from apps.core.storage.rollouts import Rollout, RolloutWish
from tests.fakes.clock import FakeClock
from tests.fakes.flags import FakeFlagStore

KEY = "debate_mode"
ME = Wish("key:abc", "rest", "토론 시험")
DEED = Cause("key:abc", "rest", 1_700_000_000.0)
SWITCH = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
UNITS = [f"user-{n}" for n in range(2000)]


@pytest.fixture
def admin(storage: Storage) -> FlagAdmin:
    """The door of a process that serves."""
    return FlagAdmin(storage, FakeFlagStore(storage), FakeClock())


async def decided(admin: FlagAdmin, user: str = "user-1", key: str = KEY) -> FlagDecision:
    """What a user is told."""
    context = foreign_context(user, {}, timestamp=0)
    return (await admin.snapshot()).evaluate_all(context)[key]


async def taken(admin: FlagAdmin) -> set[str]:
    """The users for whom the flag is on."""
    snapshot = await admin.snapshot()
    contexts = {user: foreign_context(user, {}, timestamp=0) for user in UNITS}
    return {user for user, each in contexts.items() if snapshot.evaluate_all(each)[KEY].on}


async def rows(admin: FlagAdmin) -> list[AuditRow]:
    """The audit, the newest first; it must verify."""
    found, verdict = await admin.audit(AuditFilter(), limit=1000)
    assert verdict.ok, verdict
    return found


async def started(storage: Storage, *stages: float) -> Rollout:
    """A rollout that is running."""
    async with storage.session() as s:
        draft = await rollouts.create(s, RolloutWish(KEY, stages, "s1"), cause=DEED)
        running = await rollout_moves.start(s, draft, cause=DEED, alpha=0.01)
    assert running is not None
    return running


async def test_on_and_off_hold_at_once(admin: FlagAdmin) -> None:
    """Both are the default variant; each is one audit row with its reason."""
    view = await admin.edit(KEY, Edit(on=True), wish=ME)
    assert (view.default_variant, view.version) == ("on", 1)
    assert (await decided(admin)).layer == "SQL_DEFAULT"
    assert (await decided(admin)).on
    await admin.edit(KEY, Edit(on=False), wish=ME)
    assert not (await decided(admin)).on
    audit = await rows(admin)
    assert [(row.flag_key, row.source, row.reason) for row in audit] == [
        (KEY, "rest", "토론 시험")
    ] * 2


async def test_what_changes_nothing_leaves_no_row(admin: FlagAdmin) -> None:
    """The same wish twice is one change."""
    first = await admin.edit(KEY, Edit(percent=12.5), wish=ME)
    assert await admin.edit(KEY, Edit(percent=12.5), wish=ME) == first
    assert len(await rows(admin)) == 1


async def test_a_share_set_by_hand_grows_around_the_same_people(admin: FlagAdmin) -> None:
    """Whoever is in at 5 % is in at 25 %, in the buckets of a rollout with the same salt."""
    await admin.edit(KEY, Edit(percent=5), wish=ME)
    few = await taken(admin)
    made = await decided(admin, min(few))
    assert (made.reason, made.layer, made.arm, made.rollout) == (
        "SPLIT",
        "ROLLOUT",
        "canary",
        None,
    )
    await admin.edit(KEY, Edit(percent=25), wish=ME)
    more = await taken(admin)
    assert few < more
    assert 0.21 < len(more) / len(UNITS) < 0.29
    await started(admin.storage, 25, 100)
    await admin.reload()
    assert await taken(admin) == more


@pytest.mark.parametrize(("percent", "share"), [(0, 0), (100, 2000)])
async def test_nobody_and_everybody(admin: FlagAdmin, percent: int, share: int) -> None:
    """Both ends of the scale are default variants, so that nobody without a unit is left out."""
    await admin.edit(KEY, Edit(percent=percent), wish=ME)
    assert len(await taken(admin)) == share


async def test_auto_gives_the_word_back_to_the_environment(storage: Storage) -> None:
    """SQL forgets its opinion, and `true` of the environment counts again."""
    said = Environment({KEY: "true"}, {KEY: "FEATURE_DEBATE_MODE"})
    admin = FlagAdmin(storage, FakeFlagStore(storage, environment=said), FakeClock())
    await admin.edit(KEY, Edit(on=False), wish=ME)
    assert not (await decided(admin)).on
    view = await admin.edit(KEY, Edit(auto=True), wish=ME)
    assert (view.definition, (await decided(admin)).layer) == (None, "ENV")


async def test_a_definition_keeps_what_we_do_not_know(admin: FlagAdmin) -> None:
    """Members of others survive a change of ours."""
    foreign = {**SWITCH, "x-team": {"page": 7}, "metadata": {"owner": "a", "ticket": "T-1"}}
    await admin.edit("new_flag", Edit(definition=foreign), wish=ME, if_match=0, new=True)
    edit = Edit(metadata={"owner": None, "expiresAt": "2027-03-31"})
    view = await admin.edit("new_flag", edit, wish=ME)
    assert view.definition is not None
    assert view.definition["x-team"] == {"page": 7}
    assert view.definition["metadata"] == {"ticket": "T-1", "expiresAt": "2027-03-31"}
    assert (view.owner, view.expires_at, view.stale) == (None, "2027-03-31", False)


async def test_who_has_seen_another_version_is_refused(admin: FlagAdmin) -> None:
    """Zero stands for a flag that SQL does not know yet."""
    await admin.edit(KEY, Edit(on=True), wish=ME, if_match=0)
    with pytest.raises(VersionConflict):
        await admin.edit(KEY, Edit(on=False), wish=ME, if_match=0)
    await admin.edit(KEY, Edit(on=False), wish=ME, if_match=1)


async def test_a_typing_error_makes_no_flag(admin: FlagAdmin) -> None:
    """Only a definition may make a flag that nobody declared."""
    with pytest.raises(NotFound):
        await admin.edit("debat_mode", Edit(on=True), wish=ME)
    with pytest.raises(NotFound):
        await admin.kill("debat_mode", wish=ME)
    with pytest.raises(NotFound):
        await admin.get("debat_mode")


async def test_a_bad_definition_names_the_place(admin: FlagAdmin) -> None:
    """The pointer leads to the fault, and nothing is kept."""
    bad = {**SWITCH, "targeting": {"if": [{"soon": [1]}, "on", "off"]}}
    with pytest.raises(BadDefinition) as found:
        await admin.edit(KEY, Edit(definition=bad), wish=ME)
    assert found.value.pointer.startswith("/targeting/if/0")
    assert await rows(admin) == []


async def test_flags_that_wait_for_each_other(admin: FlagAdmin) -> None:
    """A circle through the code's own prerequisite is seen too."""
    edit = Edit(members={"metadata": {"prerequisites": "mcp_tools"}})
    with pytest.raises(PrerequisiteCycle, match="mcp_tools"):
        await admin.edit("tools_policy", edit, wish=ME)


async def test_a_veto_is_named_with_its_hosts(storage: Storage) -> None:
    """On is refused where a worker reported `false`; off is always possible."""
    admin = FlagAdmin(storage, FakeFlagStore(storage), FakeClock())
    async with storage.session() as s:
        for worker, vetoes in (("b:1", (KEY,)), ("a:1", (KEY,)), ("c:1", ())):
            await flag_acks.put(s, Ack(worker, worker[0], 0, vetoes))
    on = {**SWITCH, "defaultVariant": "on"}
    for edit in (Edit(on=True), Edit(percent=1), Edit(definition=on)):
        with pytest.raises(EnvironmentVeto) as found:
            await admin.edit(KEY, edit, wish=ME)
        assert found.value.blocked_by == "env:FEATURE_DEBATE_MODE=false"
        assert found.value.hosts == ("a", "b")
    await admin.edit(KEY, Edit(on=False), wish=ME)
    done, against = await admin.take_in(parse_document({"flags": {KEY: on}}), mode="merge", wish=ME)
    assert (done.on, against) == ((KEY,), {KEY: ("a", "b")})


async def test_the_environment_of_the_command_line_vetoes_too(storage: Storage) -> None:
    """Without a running worker the variables of this place count, under their own names."""
    said = Environment({"reranker": "false"}, {"reranker": "USE_RERANKER"})
    admin = FlagAdmin(storage, None, FakeClock(), said=HostWord(said))
    with pytest.raises(EnvironmentVeto) as found:
        await admin.edit("reranker", Edit(on=True), wish=ME)
    assert found.value.blocked_by == "env:USE_RERANKER=false"


async def test_kill_beats_everything_and_ends(admin: FlagAdmin) -> None:
    """One row each; what was so already leaves none."""
    await admin.edit(KEY, Edit(on=True), wish=ME)
    assert await admin.kill(KEY, wish=ME) == await admin.kill(KEY, wish=ME)
    assert (await decided(admin)).layer == "KILLED"
    assert (await admin.get(KEY)).killed_by == ME.actor
    await admin.unkill(KEY, wish=ME)
    assert (await decided(admin)).on
    await admin.kill_all(wish=ME)
    assert not (await decided(admin)).on
    await admin.unkill_all(wish=ME)
    assert (await decided(admin)).on
    assert len(await rows(admin)) == 5


async def test_a_kill_needs_no_database(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host skips the flag at once and says that nobody else knows."""

    def away(**_limits: object) -> Any:
        raise StorageDown("The database cannot be reached.")

    store = FakeFlagStore()
    monkeypatch.setattr(storage, "session", away)
    admin = FlagAdmin(storage, store, FakeClock())
    assert (await admin.kill(KEY, wish=ME)).local
    assert store.snapshot.is_killed(KEY)
    assert (await admin.kill_all(wish=ME)).local
    assert store.snapshot.is_killed("anything")
    with pytest.raises(StorageDown):
        await FlagAdmin(storage, None, FakeClock()).kill(KEY, wish=ME)


async def test_on_must_wait_for_the_end_of_a_rollout(admin: FlagAdmin) -> None:
    """A share that the controller compares must not be moved under it."""
    await started(admin.storage, 5, 100)
    for edit in (Edit(on=True), Edit(percent=50), Edit(auto=True)):
        with pytest.raises(BusinessFailure, match="under way"):
            await admin.edit(KEY, edit, wish=ME)


async def test_off_ends_a_rollout(admin: FlagAdmin) -> None:
    """Off is off: the rollout is rolled back in the same unit of work, by the person."""
    await started(admin.storage, 100)
    await admin.reload()
    assert (await decided(admin)).on
    await admin.edit(KEY, Edit(on=False), wish=ME)
    assert not (await decided(admin)).on
    async with admin.storage.reading() as s:
        (ended,) = await rollouts.listed(s)
    assert ended.state == "ROLLED_BACK"


@pytest.mark.parametrize("was", [True, False])
async def test_a_person_decides_after_a_rollout(admin: FlagAdmin, was: bool) -> None:
    """On after a rollback is on, whatever the row said before; another attempt serves again."""
    if was:
        await admin.edit(KEY, Edit(on=True), wish=ME)
    running = await started(admin.storage, 5)
    async with admin.storage.session() as s:
        ended = await rollout_moves.roll_back(s, running, cause=replace(DEED, source="controller"))
    assert ended is not None
    await admin.reload()
    assert not (await decided(admin)).on
    count = len(await rows(admin))
    await admin.edit(KEY, Edit(on=True), wish=ME)
    assert (await decided(admin)).on
    assert len(await rows(admin)) == count + 1
    async with admin.storage.session() as s:
        (seen,) = await rollouts.listed(s)
        await rollout_moves.start(s, seen, cause=DEED, alpha=0.01)
    await admin.reload()
    assert len(await taken(admin)) < 200


DOCUMENT = {
    "$schema": "https://flagd.dev/schema/v0/flags.json",
    "x-note": "누구의 것도 아님",
    "metadata": {"set": "pilot"},
    "$evaluators": {"seoul": {"==": [{"var": "city"}, "서울"]}},
    "flags": {
        KEY: {**SWITCH, "targeting": {"if": [{"$ref": "seoul"}, "on"]}, "x": [1, {"y": None}]},
        "greeting": {"state": "ENABLED", "variants": {"a": "é", "b": ""}, "defaultVariant": "a"},
    },
}


async def test_what_goes_out_comes_in_again(admin: FlagAdmin) -> None:
    """Export, import into nothing, export: the same bytes, with all that we do not know."""
    await admin.take_in(parse_document(DOCUMENT), mode="replace", wish=ME)
    await admin.edit("reranker", Edit(percent=12.5), wish=ME)
    first = await admin.exported()
    assert json.loads(first)["flags"][KEY] == DOCUMENT["flags"][KEY]
    assert json.loads(first)["x-note"] == DOCUMENT["x-note"]
    made = await decided(admin)
    assert not made.on
    seoul = foreign_context("u", {"city": "서울"}, timestamp=0)
    assert (await admin.snapshot()).evaluate_all(seoul)[KEY].on
    await admin.take_in(parse_document({"flags": {}}), mode="replace", wish=ME)
    assert json.loads(await admin.exported()) == {"flags": {}}
    await admin.take_in(parse_document(first), mode="merge", wish=ME)
    assert await admin.exported() == first


async def test_import_tells_and_audits_what_it_changed(admin: FlagAdmin) -> None:
    """Row by row, with the source `import`; an equal document changes nothing."""
    done, _ = await admin.take_in(parse_document(DOCUMENT), mode="merge", wish=ME)
    assert (done.created, done.changed, done.removed) == ((KEY, "greeting"), (), ())
    audit = await rows(admin)
    assert {row.flag_key for row in audit} == {KEY, "greeting", "$document"}
    assert {row.source for row in audit} == {"import"}
    again, _ = await admin.take_in(parse_document(DOCUMENT), mode="merge", wish=ME)
    assert (again.created, again.changed, again.document) == ((), (), False)
    other = {"flags": {KEY: SWITCH}}
    merged, _ = await admin.take_in(parse_document(other), mode="merge", wish=ME)
    assert (merged.changed, merged.removed) == ((KEY,), ())
    whole, _ = await admin.take_in(parse_document(other), mode="replace", wish=ME)
    assert (whole.changed, whole.removed, whole.document) == ((), ("greeting",), True)


async def test_a_rehearsal_changes_nothing(admin: FlagAdmin) -> None:
    """It tells what the import would do."""
    done, _ = await admin.take_in(parse_document(DOCUMENT), mode="merge", wish=ME, dry_run=True)
    assert done.created == (KEY, "greeting")
    assert await rows(admin) == []
    async with admin.storage.reading() as s:
        assert (await flag_versions.read(s)).version == 0


async def test_a_document_that_fails_changes_nothing(admin: FlagAdmin) -> None:
    """Neither the flags before the fault nor those behind it."""
    await started(admin.storage, 5)
    count = len(await rows(admin))
    moved = {**SWITCH, "metadata": {"salt": "other"}}
    document = parse_document({"flags": {"alpha": SWITCH, KEY: moved}})
    with pytest.raises(BusinessFailure):
        await admin.take_in(document, mode="merge", wish=ME)
    circle = {name: {**SWITCH, "metadata": {"prerequisites": need}} for name, need in ("ab", "ba")}
    with pytest.raises(PrerequisiteCycle):
        await admin.take_in(parse_document({"flags": circle}), mode="merge", wish=ME)
    assert len(await rows(admin)) == count


async def test_a_kill_outlives_an_import(admin: FlagAdmin) -> None:
    """A file says how flags are made, not that an emergency is over."""
    await admin.take_in(parse_document(DOCUMENT), mode="merge", wish=ME)
    await admin.kill(KEY, wish=ME)
    done, _ = await admin.take_in(parse_document({"flags": {}}), mode="replace", wish=ME)
    assert set(done.removed) == {KEY, "greeting"}
    assert (await admin.get(KEY)).killed
    again, _ = await admin.take_in(parse_document(DOCUMENT), mode="merge", wish=ME)
    assert set(again.created) == {KEY, "greeting"}
    assert (await admin.get(KEY)).killed
