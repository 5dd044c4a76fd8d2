"""The ladder: the most restrictive layer wins, cohorts are nested, and nobody is asked twice."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.domain.flags import Flag
from apps.core.errors import NotFound, PrerequisiteCycle, Unprocessable
from apps.core.flags.context import FlagContext
from apps.core.flags.definition import FlagDefinition, parse_flag
from apps.core.flags.evaluation import Evaluation
from apps.core.flags.hashing import HASH_VERSIONS, HashVersion, unit_hash
from apps.core.flags.rollout import Split
from apps.core.flags.snapshot import FlagEntry, FlagWorld, Snapshot
from apps.core.settings import TriState

KEY = "debate_mode"
DEBATE = Flag(KEY, "Let readers argue.")
KIM = FlagContext(
    targeting_key="kim", user_id="kim", session_id="s", request_id="r", tenant="pilot"
)
UNITS = [f"unit-{n}" for n in range(2_000)]
RULES = {"if": [{"==": [{"var": "tenant"}, "pilot"]}, "on"]}


def definition(key: str = KEY, **changed: object) -> FlagDefinition:
    raw = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        **changed,
    }
    return parse_flag(key, raw)


def stored(key: str = KEY, *, killed: bool = False, **changed: object) -> FlagEntry:
    return FlagEntry.of(definition(key, **changed), killed=killed)


def decided(world: FlagWorld, context: FlagContext = KIM, key: str = KEY) -> tuple[object, ...]:
    made = Snapshot(world).evaluate_all(context)[key]
    return made.on, made.reason, made.layer


FULL = FlagWorld(
    version=7,
    flags=(DEBATE,),
    entries=(stored(targeting=RULES),),
    rollouts={KEY: Split(KEY, 100, id="r1", epoch=2, stage=1)},
)
WISHED_ON = replace(KIM, overrides={KEY: True})
TRUE: dict[str, TriState] = {KEY: "true"}
STRANGER = replace(KIM, tenant="other")


@pytest.mark.parametrize(
    ("world", "context", "expected"),
    [
        (FlagWorld(flags=(DEBATE,)), KIM, (False, "DEFAULT", "CODE")),
        (FlagWorld(flags=(DEBATE,), environment={KEY: "true"}), KIM, (True, "STATIC", "ENV")),
        (FlagWorld(entries=(stored(),)), KIM, (False, "STATIC", "SQL_DEFAULT")),
        (
            FlagWorld(entries=(stored(),), environment={KEY: "true"}),
            KIM,
            (False, "STATIC", "SQL_DEFAULT"),
        ),
        (
            FlagWorld(entries=(stored(defaultVariant="on"),)),
            KIM,
            (True, "STATIC", "SQL_DEFAULT"),
        ),
        (
            FlagWorld(flags=(DEBATE,), entries=(stored(defaultVariant=None),), environment=TRUE),
            KIM,
            (False, "DEFAULT", "CODE"),
        ),
        (replace(FULL, rollouts={}), STRANGER, (False, "DEFAULT", "SQL_DEFAULT")),
        (FULL, STRANGER, (True, "SPLIT", "ROLLOUT")),
        (FULL, KIM, (True, "TARGETING_MATCH", "TARGETING")),
        (FULL, replace(KIM, overrides={KEY: False}), (False, "TARGETING_MATCH", "OVERRIDE")),
        (FlagWorld(flags=(DEBATE,)), WISHED_ON, (True, "TARGETING_MATCH", "OVERRIDE")),
        (FlagWorld(entries=(stored(state="DISABLED"),)), WISHED_ON, (False, "DISABLED", "STATE")),
        (replace(FULL, environment={KEY: "false"}), WISHED_ON, (False, "DISABLED", "ENV_VETO")),
        (replace(FULL, kill_all=True), WISHED_ON, (False, "DISABLED", "KILLED")),
        (replace(FULL, local_kill=frozenset({KEY})), WISHED_ON, (False, "DISABLED", "KILLED")),
        (replace(FULL, local_kill=frozenset({"*"})), WISHED_ON, (False, "DISABLED", "KILLED")),
        (replace(FULL, entries=(stored(killed=True),)), KIM, (False, "DISABLED", "KILLED")),
        (
            FlagWorld(entries=(FlagEntry(KEY, killed=True),), environment={KEY: "true"}),
            KIM,
            (False, "DISABLED", "KILLED"),
        ),
        (
            FlagWorld(flags=(DEBATE,), entries=(FlagEntry(KEY),), environment={KEY: "true"}),
            KIM,
            (True, "STATIC", "ENV"),
        ),
    ],
)
def test_the_first_layer_with_an_opinion_decides(
    world: FlagWorld, context: FlagContext, expected: tuple[object, ...]
) -> None:
    """Each rung beats those below it."""
    assert decided(world, context) == expected


def test_promises_to_a_person_beat_the_rules() -> None:
    """Deny before allow before rules; none of them enters the statistics."""
    lists = {"allow": "user_id:kim,tenant:pilot", "deny": "user_id:lee"}
    world = FlagWorld(
        entries=(stored(metadata=lists, targeting={"if": [True, "off"]}),),
        rollouts={KEY: Split(KEY, 0)},
    )
    assert decided(world) == (True, "TARGETING_MATCH", "TARGETING")
    assert decided(world, replace(KIM, user_id="lee"))[0] is False
    assert decided(world, replace(KIM, user_id="x", tenant="y"))[0] is False


def test_a_flag_needs_its_prerequisites() -> None:
    """Of the code and of the definition; one that is unknown is never on."""
    policy = Flag("tools_policy", "")
    tools = Flag("mcp_tools", "", requires=("tools_policy",))
    world = FlagWorld(flags=(tools, policy), environment={"mcp_tools": "true"})
    assert decided(world, key="mcp_tools") == (False, "DEFAULT", "PREREQUISITE")
    both = replace(world, environment={"mcp_tools": "true", "tools_policy": "true"})
    assert decided(both, key="mcp_tools") == (True, "STATIC", "ENV")
    off = replace(KIM, overrides={"tools_policy": False})
    assert decided(both, off, key="mcp_tools") == (False, "DEFAULT", "PREREQUISITE")
    staged = Split("tools_policy", 100)
    shared = replace(world, rollouts={"tools_policy": staged})
    assert decided(shared, key="mcp_tools") == (True, "STATIC", "ENV")
    strange = stored(metadata={"prerequisites": "nobody"}, defaultVariant="on")
    assert decided(FlagWorld(entries=(strange,))) == (False, "DEFAULT", "PREREQUISITE")


def chain(length: int) -> tuple[Flag, ...]:
    return tuple(Flag(f"f{n}", "", requires=(f"f{n + 1}",)) for n in range(length))


def test_prerequisites_end() -> None:
    """Eight in a row are allowed; nine, or a circle, are not."""
    Snapshot(FlagWorld(flags=(*chain(8), Flag("f8", ""))))
    with pytest.raises(PrerequisiteCycle, match="more than 8"):
        Snapshot(FlagWorld(flags=tuple(reversed((*chain(9), Flag("f9", ""))))))
    with pytest.raises(PrerequisiteCycle):
        Snapshot(FlagWorld(flags=chain(5_000)))
    with pytest.raises(PrerequisiteCycle, match="f0 → f1 → f0"):
        Snapshot(FlagWorld(flags=(*chain(1), Flag("f1", "", requires=("f0",)))))


@pytest.mark.parametrize("version", HASH_VERSIONS)
def test_a_growing_share_keeps_its_people(version: HashVersion) -> None:
    """Whoever is in at 5 % is in at 25, 50, 95 and 100 %; the holdback is at the top."""
    entry = stored(metadata={"hash_version": version})
    before: set[str] = set()
    for percent, holdback in ((5, 0), (25, 0), (50, 5), (100, 5), (100, 0)):
        rollout = Split(KEY, percent, holdback=holdback)
        snapshot = Snapshot(FlagWorld(entries=(entry,), rollouts={KEY: rollout}))
        on = {u for u in UNITS if snapshot.evaluate_all(FlagContext(user_id=u))[KEY].on}
        assert before < on
        before = on
    assert before == set(UNITS)


@given(
    unit=st.text(min_size=1),
    percents=st.lists(st.integers(0, 100_000), min_size=2, max_size=4).map(sorted),
    version=st.sampled_from(HASH_VERSIONS),
)
def test_cohorts_are_nested_for_every_unit(
    unit: str, percents: list[int], version: HashVersion
) -> None:
    """In steps of 0.001 %; once in, always in."""
    entry = stored(metadata={"hash_version": version})
    answers = []
    for thousandths in percents:
        world = FlagWorld(entries=(entry,), rollouts={KEY: Split(KEY, thousandths / 1000)})
        answers.append(Snapshot(world).evaluate_all(FlagContext(user_id=unit))[KEY].on)
    assert answers == sorted(answers)


def test_the_last_bucket_is_out_and_the_one_before_is_in() -> None:
    """A share of n thousandths of a percent takes exactly the buckets below n."""
    whole = Snapshot(FlagWorld(flags=(DEBATE,), rollouts={KEY: Split(KEY, 100)}))
    bucket = whole.evaluate_all(KIM)[KEY].bucket or 0
    for thousandths, on in ((bucket, False), (bucket + 1, True)):
        rollout = Split(KEY, thousandths / 1000)
        made = Snapshot(FlagWorld(flags=(DEBATE,), rollouts={KEY: rollout})).evaluate_all(KIM)
        assert made[KEY].on is on


def test_a_rule_that_meets_impossible_data_is_an_error() -> None:
    """A list that holds itself, half a letter: the code's default, never a raise."""
    loop: list[object] = []
    loop.append(loop)
    for rule, context in (
        ({"cat": [{"var": "loop"}]}, FlagContext(attributes={"loop": loop})),
        ({"fractional": [["on", 1], ["off", 1]]}, FlagContext(targeting_key="\ud800")),
    ):
        made = Snapshot(FlagWorld(entries=(stored(targeting=rule),))).evaluate_all(context)[KEY]
        assert (made.on, made.reason, made.error) == (False, "ERROR", "GENERAL")


TRI = st.sampled_from(["true", "false", "auto"])


@st.composite
def worlds(draw: st.DrawFn) -> FlagWorld:
    environment: dict[str, TriState] = {KEY: draw(TRI)}
    targeting = draw(st.sampled_from([None, RULES, {"fractional": [["on", 1], ["off", 1]]}]))
    entry = stored(
        killed=draw(st.booleans()),
        defaultVariant=draw(st.sampled_from(["on", "off", None])),
        targeting=targeting,
        metadata={"allow": "user_id:kim"} if draw(st.booleans()) else {},
    )
    rollout = Split(KEY, draw(st.sampled_from([0, 50, 100])), id="r")
    return FlagWorld(
        flags=(DEBATE,),
        entries=(entry,) if draw(st.booleans()) else (),
        rollouts={KEY: rollout} if draw(st.booleans()) else {},
        environment=environment,
        kill_all=draw(st.booleans()),
        local_kill=draw(st.sampled_from([frozenset[str](), frozenset({KEY}), frozenset({"*"})])),
    )


contexts = st.builds(
    FlagContext,
    targeting_key=st.none() | st.text(max_size=5),
    user_id=st.none() | st.text(max_size=5) | st.just("kim"),
    tenant=st.none() | st.just("pilot"),
    overrides=st.dictionaries(st.just(KEY), st.booleans()),
    attributes=st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text()),
)


@given(worlds(), contexts)
@settings(max_examples=300)
def test_kill_and_veto_mean_off_for_everybody(world: FlagWorld, context: FlagContext) -> None:
    """Layers 1 and 2 beat every other setting and every request."""
    made = Snapshot(world).evaluate_all(context)[KEY]
    entry_killed = any(entry.killed for entry in world.entries)
    if world.kill_all or world.local_kill or entry_killed:
        assert (made.on, made.layer) == (False, "KILLED")
    elif world.environment[KEY] == "false":
        assert (made.on, made.layer) == (False, "ENV_VETO")


@given(worlds(), contexts)
@settings(max_examples=300)
def test_only_the_randomised_enter_the_statistics(world: FlagWorld, context: FlagContext) -> None:
    """An arm belongs to a rollout's decision of a request without an override."""
    evaluation = Snapshot(world).evaluate_all(context)
    made = evaluation[KEY]
    counted = made.layer == "ROLLOUT" and not evaluation.overridden and made.bucket is not None
    assert (made.arm is not None) is counted


@given(worlds(), contexts)
@settings(max_examples=300)
def test_the_explanation_agrees_with_the_evaluation(world: FlagWorld, context: FlagContext) -> None:
    """The first opinion of the ladder is the decision, the arm aside."""
    found = Snapshot(world).explain(KEY, context)
    first = next(each.decision for each in found.ladder if each.decision is not None)
    assert replace(first, arm=None) == replace(found.decision, arm=None)


def test_an_override_takes_the_whole_request_out_of_the_arms() -> None:
    """Also of other flags, whose numbers it would colour."""
    other = Flag("meta_planner", "")
    world = FlagWorld(flags=(DEBATE, other), rollouts={"meta_planner": Split("meta_planner", 50)})
    plain, overridden = (Snapshot(world).evaluate_all(each) for each in (KIM, WISHED_ON))
    assert plain["meta_planner"].arm is not None
    assert overridden["meta_planner"].arm is None
    assert overridden["meta_planner"].on == plain["meta_planner"].on
    blocked = replace(world, environment={KEY: "false"})
    assert Snapshot(blocked).evaluate_all(WISHED_ON)["meta_planner"].arm is not None


def test_the_service_itself_is_in_no_arm() -> None:
    """Health checks are decided as everybody and counted as nobody."""
    made = Snapshot(FULL).evaluate_all(replace(STRANGER, synthetic=True))[KEY]
    assert (made.on, made.layer, made.arm) == (True, "ROLLOUT", None)


def test_a_rollout_says_what_it_did() -> None:
    """Bucket, rollout, epoch, stage and arm; a rollout that is over has no arm."""
    made = Snapshot(FULL).evaluate_all(STRANGER)[KEY]
    assert (made.rollout, made.epoch, made.stage, made.arm) == ("r1", 2, 1, "canary")
    assert made.bucket is not None
    over = replace(FULL, rollouts={KEY: Split(KEY, 0, id="r1", counts=False)})
    made = Snapshot(over).evaluate_all(STRANGER)[KEY]
    assert (made.on, made.layer, made.arm) == (False, "ROLLOUT", None)


def test_the_unit_is_the_first_that_is_known() -> None:
    """User, session, request; nobody knows an empty name."""
    snapshot = Snapshot(FlagWorld(flags=(DEBATE,), rollouts={KEY: Split(KEY, 50)}))
    by = [
        FlagContext(user_id="kim"),
        FlagContext(user_id="", session_id="kim"),
        FlagContext(request_id="kim"),
    ]
    assert len({snapshot.evaluate_all(context)[KEY].bucket for context in by}) == 1
    key = FlagContext(api_key_id="kim")
    evaluation = snapshot.evaluate_all(key)
    assert (evaluation[KEY].on, evaluation[KEY].bucket) == (False, None)
    assert evaluation.missing == (KEY,)
    chosen = Split(KEY, 100, bucket_by=("api_key_id",))
    assert Snapshot(FlagWorld(rollouts={KEY: chosen})).evaluate_all(key)[KEY].on


def test_half_a_letter_is_an_error_and_not_a_crash() -> None:
    """The code's default, and OpenFeature's word for it."""
    snapshot = Snapshot(FlagWorld(flags=(DEBATE,), rollouts={KEY: Split(KEY, 100)}))
    made = snapshot.evaluate_all(FlagContext(user_id="\ud800"))[KEY]
    assert (made.on, made.reason, made.error) == (False, "ERROR", "INVALID_CONTEXT")


TEXTS = {"variants": {"short": "짧게", "long": "길게", "list": "목록"}, "defaultVariant": "short"}


def test_an_experiment_is_sticky_at_every_percentage() -> None:
    """A unit keeps its variant while the experiment grows; the others have the default."""
    arms = {"short": 1, "long": 2, "list": 1}
    seen: dict[str, str | None] = {}
    for percent in (20, 60, 100):
        world = FlagWorld(
            entries=(stored("prompt", **TEXTS),),
            rollouts={"prompt": Split("prompt", percent, id="e", arms=arms)},
        )
        snapshot = Snapshot(world)
        for unit in UNITS:
            made = snapshot.evaluate_all(FlagContext(user_id=unit))["prompt"]
            if made.arm is None:
                assert (made.variant, made.value) == ("short", "짧게")
                continue
            assert made.arm == made.variant == seen.setdefault(unit, made.arm)
        assert set(seen.values()) == set(arms)
    shares = [sum(arm == name for arm in seen.values()) / len(UNITS) for name in arms]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.04)


def test_a_flag_that_is_no_switch_leaves_off_to_the_code() -> None:
    """Killed means no value of ours, and a header cannot turn it on."""
    entry = stored("prompt", **TEXTS)
    killed = Snapshot(FlagWorld(entries=(replace(entry, killed=True),)))
    made = killed.evaluate_all(KIM)["prompt"]
    assert (made.on, made.variant, made.value) == (False, None, None)
    wished = replace(KIM, overrides={"prompt": True})
    made = Snapshot(FlagWorld(entries=(entry,))).evaluate_all(wished)["prompt"]
    assert (made.layer, made.value) == ("SQL_DEFAULT", "짧게")


@pytest.mark.parametrize(
    ("entry", "rollout", "error"),
    [
        (stored(targeting={"var": "tenant"}), None, "GENERAL"),
        (stored(), Split(KEY, 50, variant="maybe"), "GENERAL"),
        (replace(stored(), default_variant="maybe"), None, "GENERAL"),
    ],
)
def test_a_variant_that_does_not_exist_is_an_error(
    entry: FlagEntry, rollout: Split | None, error: str
) -> None:
    """The code's default, never a raise."""
    world = FlagWorld(entries=(entry,), rollouts={KEY: rollout} if rollout else {})
    made = Snapshot(world).evaluate_all(KIM)[KEY]
    assert (made.on, made.reason, made.error) == (False, "ERROR", error)


@pytest.mark.parametrize(
    "wrong",
    [{"percent": 101}, {"percent": -1}, {"holdback": 101}, {"bucket_by": ()},
     {"arms": {"a": 0}}, {"arms": {"a": -1, "b": 3}}],
)  # fmt: skip
def test_a_rollout_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    """422 before it reaches a snapshot."""
    with pytest.raises(Unprocessable):
        Split(**{"flag_key": KEY, "percent": 5, **wrong})  # type: ignore[arg-type]


def test_the_explanation_shows_the_whole_ladder() -> None:
    """Every layer in order, with the share and the unit."""
    found = Snapshot(FULL).explain(KEY, KIM)
    assert [each.layer for each in found.ladder] == [
        "KILLED", "ENV_VETO", "STATE", "PREREQUISITE", "OVERRIDE", "TARGETING", "ROLLOUT",
        "SQL_DEFAULT", "ENV", "CODE",
    ]  # fmt: skip
    opinions = {each.layer: each.variant for each in found.ladder}
    assert (opinions["TARGETING"], opinions["ROLLOUT"], opinions["KILLED"]) == ("on", "on", None)
    assert (found.decision.layer, found.percent, found.unit_name) == ("TARGETING", 100, "user_id")
    with pytest.raises(NotFound, match="nobody"):
        Snapshot(FULL).explain("nobody", KIM)


def test_requests_share_what_does_not_depend_on_them() -> None:
    """Without rules and rollouts there is one evaluation for all; a header makes its own."""
    snapshot = Snapshot(FlagWorld(flags=(DEBATE,)))
    assert snapshot.evaluate_all(KIM) is snapshot.evaluate_all(STRANGER)
    assert snapshot.evaluate_all(WISHED_ON)[KEY].on


def test_arms_never_share_an_answer() -> None:
    """The digest differs between arms and values, and nothing else."""
    half = Snapshot(replace(FULL, rollouts={KEY: Split(KEY, 50, id="r1", epoch=2)}))
    digests = {half.evaluate_all(FlagContext(user_id=unit)).digest for unit in UNITS}
    assert len(digests) == 2
    control = next(
        found
        for unit in UNITS
        if (found := half.evaluate_all(FlagContext(user_id=unit)))[KEY].arm == "control"
    )
    nobody = Snapshot(replace(FULL, rollouts={})).evaluate_all(STRANGER)
    assert control.on == nobody.on
    assert control.digest != nobody.digest


def test_a_kill_reaches_a_run_that_goes_on() -> None:
    """What was decided at the door, minus what was killed since."""
    made = Snapshot(FULL).evaluate_all(KIM)
    assert made.without(frozenset()) is made
    after = made.without(frozenset({KEY}))
    assert (after[KEY].layer, after.on) == ("KILLED", frozenset())


def test_a_flag_of_words_can_be_off_for_one_request() -> None:
    """Its value is then the code's own; `on` says nothing of which word."""
    words = parse_flag("words", {"state": "ENABLED", "variants": {"a": "x"}, "defaultVariant": "a"})
    snapshot = Snapshot(FlagWorld(entries=(FlagEntry.of(words),)))
    off = snapshot.evaluate_all(FlagContext(overrides={"words": False}))
    assert (off["words"].value, off["words"].layer, off.header) == (None, "OVERRIDE", "words=off")
    assert snapshot.evaluate_all(FlagContext(overrides={"words": True}))["words"].value == "x"
    assert off.without(frozenset({"words"})) is off


def test_the_latest_kill_set_is_a_membership() -> None:
    """Also of nodes whose flag nobody stored."""
    assert not Snapshot(FULL).is_killed(KEY)
    assert Snapshot(FULL).changed(local_kill=frozenset({KEY})).is_killed(KEY)
    assert Snapshot(FULL).changed(kill_all=True).is_killed("anything")


def test_who_a_unit_is_does_not_leave() -> None:
    """Only a keyed hash of it, and only for flags with a rollout."""
    evaluation = Snapshot(FULL).evaluate_all(STRANGER)
    assert "kim" not in repr(evaluation)
    assert "kim" not in json.dumps(evaluation.as_json())
    assert evaluation.unit_hash(KEY, b"pepper") == unit_hash("kim", b"pepper")
    assert Evaluation(0, {}).unit_hash(KEY, b"pepper") is None


def test_an_answer_names_what_decided() -> None:
    """Without what is not known; a value only when it is more than on or off."""
    world = replace(FULL, entries=(*FULL.entries, stored("prompt", **TEXTS)))
    shown = Snapshot(world).evaluate_all(STRANGER).as_json()
    assert shown[KEY] == {
        "on": True, "reason": "SPLIT", "layer": "ROLLOUT", "variant": "on",
        "bucket": shown[KEY]["bucket"], "rollout": "r1", "epoch": 2, "stage": 1, "arm": "canary",
    }  # fmt: skip
    assert shown["prompt"]["value"] == "짧게"


def test_metadata_leave_the_lists_of_people_out() -> None:
    """Whoever may read a flag need not know who is promised it."""
    entry = stored(metadata={"owner": "answers", "allow": "user_id:kim"})
    snapshot = Snapshot(FlagWorld(entries=(entry,)))
    assert snapshot.metadata(KEY) == {"owner": "answers"}
    assert snapshot.metadata("nobody") == {}
    told = snapshot.changed(metadata={"owner": "nobody", "set": "s"})
    assert told.metadata(KEY) == {"owner": "answers", "set": "s"}


def test_a_snapshot_knows_its_flags() -> None:
    """Prerequisites come first."""
    flags = (Flag("mcp_tools", "", requires=("tools_policy",)), Flag("tools_policy", ""))
    snapshot = Snapshot(FlagWorld(flags=flags))
    assert snapshot.keys == ("tools_policy", "mcp_tools")
    assert "mcp_tools" in snapshot
    assert "nobody" not in snapshot
    assert list(snapshot.evaluate_all(KIM)) == list(snapshot.keys)
    assert len(snapshot.evaluate_all(KIM)) == 2
