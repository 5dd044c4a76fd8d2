"""Flag definitions: nothing is lost, every fault is named by its place, nothing else is raised."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from datetime import date

import pytest

from apps.core.errors import BadDefinition
from apps.core.flags.context import FlagContext
from apps.core.flags.definition import FlagSet, export_document, parse_document, parse_flag
from tests.core.flags.gherkin import snapshot_of

FLAG: dict[str, object] = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {
        "if": [
            {"in": [{"var": "tenant"}, ["pilot"]]},
            "on",
            {"fractional": [["on", 10], ["off", 90]]},
        ]
    },
    "metadata": {
        "owner": "answers",
        "expiresAt": "2027-03-31",
        "hash_version": "v2",
        "salt": "s1",
        "prerequisites": ["tools_policy"],
        "allow": ["tenant:pilot", "user_id:kim"],
        "kind": "release",
        "ticket": 7,
    },
    "note": {"by": ["somebody", None, 1.5]},
}
DOCUMENT: dict[str, object] = {
    "$schema": "https://flagd.dev/schema/v0/flags.json",
    "flags": {"debate_mode": FLAG, "greeting": {"state": "ENABLED", "variants": {"ko": "안녕"}}},
    "$evaluators": {"pilot": {"==": [{"var": "tenant"}, "pilot"]}},
    "metadata": {"version": "3"},
}


def exported(flags: FlagSet) -> bytes:
    return export_document(
        flags.flags.values(),
        evaluators=flags.evaluators,
        metadata=flags.metadata,
        extra=flags.extra,
    )


def changed(path: str, value: object) -> dict[str, object]:
    """The document with the member at a pointer replaced; `...` removes it."""
    document = copy.deepcopy(DOCUMENT)
    *way, last = path.split("/")[1:]
    place: dict[str, object] = document
    for name in way:
        place = place[name]  # type: ignore[assignment]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def test_export_import_export_gives_the_same_bytes() -> None:
    """Whatever order the members came in."""
    first = exported(parse_document(DOCUMENT))
    assert exported(parse_document(first)) == first
    turned = dict(reversed(list(DOCUMENT.items())))
    assert exported(parse_document(turned)) == first


def test_what_we_do_not_know_survives() -> None:
    """In the document, in a flag, and in its metadata."""
    back = json.loads(exported(parse_document(DOCUMENT)))
    assert back["$schema"] == DOCUMENT["$schema"]
    assert back["flags"]["debate_mode"]["note"] == FLAG["note"]
    assert back["flags"]["debate_mode"]["metadata"]["ticket"] == 7


def test_lists_in_metadata_are_written_as_texts() -> None:
    """The published schema allows only plain values there; both forms are read."""
    flags = parse_document(exported(parse_document(DOCUMENT)))
    metadata = flags.flags["debate_mode"].raw["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["prerequisites"] == "tools_policy"
    assert flags.flags["debate_mode"].prerequisites == ("tools_policy",)
    assert flags.flags["debate_mode"].allow == (("tenant", "pilot"), ("user_id", "kim"))


def test_metadata_are_read() -> None:
    """Defaults stand where nothing is said."""
    flag = parse_flag("debate_mode", FLAG)
    assert (flag.owner, flag.expires_at, flag.kind) == ("answers", "2027-03-31", "release")
    assert flag.stale(date(2027, 4, 1))
    assert not flag.stale(date(2027, 3, 31))
    bare = parse_flag("x", {"state": "ENABLED", "variants": {"ko": "안녕"}})
    assert (bare.hash_version, bare.salt, bare.default_variant) == ("v2", "s1", None)
    assert not bare.stale(date(2099, 1, 1))


BASE = "/flags/debate_mode"
RULE = f"{BASE}/targeting"
LOOP = {"a": {"!": [{"$ref": "b"}]}, "b": {"!": [{"$ref": "a"}]}}
LONG = {f"e{n}": {"!": [{"$ref": f"e{n + 1}"}]} for n in range(12)} | {"e12": True}
WIDE = {f"w{n}": {"and": [{"$ref": f"w{n + 1}"}] * 9} for n in range(7)} | {"w7": {"var": "x"}}


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        ("/flags", ..., "/flags"),
        ("/flags", [], "/flags"),
        ("/metadata", 1, "/metadata"),
        ("/metadata", {"a": []}, "/metadata/a"),
        ("/flags/bad key", FLAG, "/flags/bad key"),
        (BASE, [], BASE),
        (f"{BASE}/state", "on", f"{BASE}/state"),
        (f"{BASE}/variants", {}, f"{BASE}/variants"),
        (f"{BASE}/variants", {"on": None}, f"{BASE}/variants/on"),
        (f"{BASE}/variants", {"on": 2**53}, f"{BASE}/variants/on"),
        (f"{BASE}/variants", {"": True}, f"{BASE}/variants/"),
        (f"{BASE}/variants", {"on": True, "off": "no"}, f"{BASE}/variants"),
        (f"{BASE}/defaultVariant", "maybe", f"{BASE}/defaultVariant"),
        (f"{BASE}/targeting", "on", RULE),
        (f"{BASE}/metadata", [], f"{BASE}/metadata"),
        (f"{BASE}/metadata/owner", 1, f"{BASE}/metadata/owner"),
        (f"{BASE}/metadata/expiresAt", "soon", f"{BASE}/metadata/expiresAt"),
        (f"{BASE}/metadata/expiresAt", "2027-02-30", f"{BASE}/metadata/expiresAt"),
        (f"{BASE}/metadata/kind", "toy", f"{BASE}/metadata/kind"),
        (f"{BASE}/metadata/hash_version", "v1", f"{BASE}/metadata/hash_version"),
        (f"{BASE}/metadata/salt", "s" * 65, f"{BASE}/metadata/salt"),
        (f"{BASE}/metadata/prerequisites", ["a b"], f"{BASE}/metadata/prerequisites"),
        (f"{BASE}/metadata/prerequisites", [1], f"{BASE}/metadata/prerequisites"),
        (f"{BASE}/metadata/deny", "planet:mars", f"{BASE}/metadata/deny"),
        (f"{BASE}/metadata/ticket", None, f"{BASE}/metadata/ticket"),
        (RULE, {"frobnicate": [1]}, f"{RULE}/frobnicate"),
        (RULE, {"and": [{"a~/b": 1}]}, f"{RULE}/and/0/a~0~1b"),
        (RULE, {"if": [True, "maybe", None]}, f"{RULE}/if/1"),
        (RULE, {"if": [True, "on", True]}, f"{RULE}/if/2"),
        (RULE, {"fractional": [["on", 1.5], ["off", 1]]}, f"{RULE}/fractional/0/1"),
        (RULE, {"fractional": [["on", True], ["off", 1]]}, f"{RULE}/fractional/0/1"),
        (RULE, {"fractional": [["on", "5"], ["off", 1]]}, f"{RULE}/fractional/0/1"),
        (RULE, {"fractional": [["on", 1, 2]]}, f"{RULE}/fractional/0"),
        (RULE, {"fractional": [["on", 1], "off"]}, f"{RULE}/fractional/1"),
        (RULE, {"fractional": [["on", 2**31 - 1], ["off", 1]]}, f"{RULE}/fractional"),
        (RULE, {"fractional": [["maybe", 1], ["off", 1]]}, f"{RULE}/fractional/0/0"),
        (RULE, {"fractional": []}, f"{RULE}/fractional"),
        ("/$evaluators", LOOP, "/$evaluators/b/!/0/$ref"),
        ("/$evaluators", LONG, "/$evaluators/e7/!/0/$ref"),
        ("/$evaluators/pilot", {"frobnicate": []}, "/$evaluators/pilot/frobnicate"),
    ],
)
def test_a_fault_is_named_by_its_place(path: str, value: object, pointer: str) -> None:
    """422, and the pointer of the member that is wrong."""
    with pytest.raises(BadDefinition) as caught:
        parse_document(changed(path, value))
    assert caught.value.status == 422
    assert caught.value.pointer == pointer
    assert pointer in caught.value.detail


def test_a_circle_of_references_is_called_one() -> None:
    """And not a long row."""
    with pytest.raises(BadDefinition, match="refers to itself"):
        parse_document(changed("/$evaluators", LOOP))


def test_a_few_references_cannot_multiply() -> None:
    """Nine to the power of eight copies are refused before they are made."""
    with pytest.raises(BadDefinition, match="too large"):
        parse_document(changed("/$evaluators", WIDE))


def test_eight_references_in_a_row_are_allowed() -> None:
    """The ninth is not."""
    row = {f"e{n}": {"!": [{"$ref": f"e{n + 1}"}]} for n in range(7)} | {"e7": True}
    document = changed("/$evaluators", row)
    document["flags"]["debate_mode"]["targeting"] = {  # type: ignore[index]
        "if": [{"$ref": "e0"}, "on"]
    }
    assert not parse_document(document).warnings


@pytest.mark.parametrize(
    "text",
    ["", "[]", "nul", "{", '{"flags": {}, "flags": {}}', '{"flags": NaN}', '{"flags": 1e999}',
     '{"flags": {"a": "\\ud800"}}', '{"\\ud800": 1}', "[" * 100_000,
     '{"a":' * 300 + "1" + "}" * 300,
     b"\xff", '{"flags": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    """Also what Python's own reader would let through."""
    with pytest.raises(BadDefinition):
        parse_document(text)


def test_what_we_do_not_know_is_bounded_too() -> None:
    """Depth and numbers are checked where no rule looks."""
    deep: object = 1
    for _ in range(250):
        deep = [deep]
    for wrong, problem in ((deep, "nested too deeply"), (1e999, "not a finite number")):
        with pytest.raises(BadDefinition, match=problem):
            parse_document(changed(f"{BASE}/note", wrong))


def test_a_reader_may_hand_over_what_json_cannot_hold() -> None:
    """Names that are no texts, values of other kinds."""
    for wrong in ({1: 2}, {"flags": {"a": {1, 2}}}):
        with pytest.raises(BadDefinition):
            parse_document(wrong)  # type: ignore[arg-type]


def test_read_leniently_a_bad_rule_is_only_told() -> None:
    """As flagd does: the flag is kept, and evaluates to an error."""
    document = changed(RULE, {"frobnicate": [1]})
    del document["flags"]["debate_mode"]["metadata"]  # type: ignore[attr-defined]
    flags = parse_document(document, lenient=True)
    assert [fault.pointer for fault in flags.warnings] == [f"{RULE}/frobnicate"]
    made = snapshot_of(flags).evaluate_all(FlagContext())["debate_mode"]
    assert (made.on, made.reason, made.error) == (False, "ERROR", "PARSE_ERROR")


def test_weights_that_share_nothing_are_refused_from_a_person_only() -> None:
    """flagd's schema allows them, and its examples import them and expect the default."""
    document = changed(RULE, {"fractional": [["on", 0], ["off", -3]]})
    flags = parse_document(document)
    found = [(fault.pointer, fault.weight) for fault in flags.warnings]
    assert found == [(f"{RULE}/fractional", "idle")]
    with pytest.raises(BadDefinition) as caught:
        parse_flag("debate_mode", dict(flags.flags["debate_mode"].raw))
    assert caught.value.members["pointer"] == "/targeting/fractional"


def test_a_missing_evaluator_is_a_warning() -> None:
    """flagd's own examples import such a flag and expect an error when it is evaluated."""
    flags = parse_document(changed(RULE, {"if": [{"$ref": "nobody"}, "on"]}))
    assert [fault.problem for fault in flags.warnings] == ["there is no evaluator 'nobody'"]


def _mutations(rng: random.Random) -> list[Callable[[object], object]]:
    odd = [None, True, 0, -1, 1e308, 2**70, "", "on", "\ud800", [], {}, [[]], {"var": []},
           {"$ref": "pilot"}, {"$ref": []}, {"fractional": [[None, -1]]}, {"if": []}]  # fmt: skip
    return [
        lambda _value: copy.deepcopy(rng.choice(odd)),
        lambda value: [value],
        lambda value: {"!": value},
        lambda value: {rng.choice(["and", "var", "cat", "in", "sem_ver", "?"]): value},
        lambda value: value * 2 if isinstance(value, list) else value,
    ]


def _mutated(value: object, rng: random.Random) -> object:
    """One place of a document replaced by something odd."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        if rng.random() < 0.1:
            return {other: item for other, item in value.items() if other != name}
        return {**value, name: _mutated(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [_mutated(item, rng) if at == place else item for at, item in enumerate(value)]
    return rng.choice(_mutations(rng))(value)


@pytest.mark.parametrize("lenient", [False, True])
def test_mutated_definitions_are_refused_or_work(lenient: bool) -> None:
    """5,000 each way: 422 or a snapshot that evaluates and a document that comes back."""
    rng = random.Random(20270331)
    accepted = 0
    for _ in range(5_000):
        document: object = DOCUMENT
        for _ in range(rng.randrange(1, 4)):
            document = _mutated(document, rng)
        try:
            flags = parse_document(document, lenient=lenient)  # type: ignore[arg-type]
        except BadDefinition:
            continue
        accepted += 1
        assert exported(parse_document(exported(flags), lenient=lenient)) == exported(flags)
        snapshot_of(flags).evaluate_all(FlagContext(user_id="\ud800", tenant="pilot"))
    assert 500 < accepted < 4_500
