"""Values and operators as JsonLogic's reference in JavaScript has them."""

from __future__ import annotations

import math

import pytest

from apps.core.flags import semver
from apps.core.flags.jsonlogic import number, text, truthy
from apps.core.flags.targeting import compile_targeting

DATA: dict[str, object] = {
    "a": {"b": [10, {"c": "deep"}]},
    "word": "가나다",
    "zero": 0,
    "nothing": None,
    "list": [1, "2", None, True],
    "same": [1],
    "targetingKey": "user-1",
    "$flagd": {"flagKey": "f", "timestamp": 1_700_000_000},
}


def said(rule: object) -> object:
    return compile_targeting(rule, evaluators={}).choose(DATA)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, False), (1, True), (-0.0, False), (math.nan, False), ("", False), ("0", True),
     ([], False), ([0], True), ({}, True), (None, False), (True, True)],
)  # fmt: skip
def test_truth(value: object, expected: bool) -> None:
    """An empty list is false, "0" and an empty object are not."""
    assert truthy(value) is expected


@pytest.mark.parametrize(
    ("left", "right", "loose", "strict"),
    [
        (1, "1", True, False), (1, 1.0, True, True), (1, True, True, False),
        ("", 0, True, False), ("a", 0, False, False), (" 2 ", 2, True, False),
        ("0x10", 16, True, False), ("1_0", 10, False, False), ("nan", "nan", True, True),
        (None, None, True, True), (None, 0, False, False), (None, False, False, False),
        (False, "0", True, False), (True, "true", False, False), (True, True, True, True),
        ([1], 1, True, False), ([1], [1], False, False), ([], "", True, False),
        ({"var": "same"}, {"var": "same"}, True, True), ("Infinity", 1e999, True, False),
    ],
)  # fmt: skip
def test_equality(left: object, right: object, loose: bool, strict: bool) -> None:
    """`==` converts, `===` does not; lists equal only themselves."""
    assert said({"==": [left, right]}) is loose
    assert said({"!=": [left, right]}) is not loose
    assert said({"===": [left, right]}) is strict
    assert said({"!==": [left, right]}) is not strict


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"<": [1, "2"]}, True), ({"<": ["10", "9"]}, True), ({"<": ["10", 9]}, False),
        ({"<": [1, 2, 3]}, True), ({"<": [1, 5, 3]}, False), ({"<=": [1, 1, 1]}, True),
        ({"<=": ["a", "a"]}, True), ({">": [2, 1]}, True), ({">=": [1, 2]}, False),
        ({"<": [None, 1]}, True), ({"<": ["a", None]}, False),
        ({"in": ["나", {"var": "word"}]}, True), ({"in": [1, {"var": "list"}]}, True),
        ({"in": [True, {"var": "list"}]}, True), ({"in": ["1", {"var": "list"}]}, False),
        ({"in": ["x", ["x", "y"]]}, True), ({"in": [1, ["1"]]}, False), ({"in": ["x", 5]}, False),
        ({"in": ["", ""]}, False), ({"in": [None, "a null b"]}, True),
        ({"and": [1, "x"]}, "x"), ({"and": [1, 0, "x"]}, 0), ({"and": []}, None),
        ({"or": [0, "", "x"]}, "x"), ({"or": [0, ""]}, ""),
        ({"!": 0}, True), ({"!": [[]]}, True), ({"!": []}, True), ({"!!": ["0"]}, True),
        ({"if": []}, None), ({"if": ["x"]}, "x"), ({"if": [False, "x"]}, None),
        ({"if": [0, 1, 1, 2, 3]}, 2), ({"if": [0, 1, 0, 2, 3]}, 3),
        ({"var": "a.b.0"}, 10), ({"var": ["a.b.1.c"]}, "deep"), ({"var": "a.b.9"}, None),
        ({"var": "a.b.01"}, None), ({"var": "a.b.length"}, 2), ({"var": "word.1"}, "나"),
        ({"var": "zero.x"}, None), ({"var": ["nothing", "else"]}, "else"),
        ({"var": ["zero", 5]}, 0), ({"var": ["no", {"var": "zero"}]}, 0),
        ({"var": {"cat": ["wo", "rd"]}}, "가나다"), ({"var": 7}, None),
        ({"var": "$flagd.timestamp"}, 1_700_000_000), ({"var": "$flagd.flagKey"}, "f"),
        ({"cat": ["a", None, 1.0, True, [1, None, "x"], {"a": 1, "b": 2}]},
         "a1true1,,x[object Object]"),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}), ([{"var": "zero"}, "x"], [0, "x"]), ("x", "x"),
    ],
)  # fmt: skip
def test_operators(rule: object, expected: object) -> None:
    """Each with its usual and its odd arguments."""
    assert said(rule) == expected


def test_the_empty_path_is_everything() -> None:
    """As a text, a list without items, or null."""
    assert all(said({"var": path}) is DATA for path in ("", [""], [None], []))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1e21, "1e+21"), (1.5e-7, "1.5e-7"), (1e-7, "1e-7"), (0.00001, "0.00001"), (-0.0, "0"),
     (1e16, "10000000000000000"), (0.1, "0.1"), (100.0, "100"), (math.nan, "NaN"),
     (math.inf, "Infinity"), (-math.inf, "-Infinity")],
)  # fmt: skip
def test_numbers_as_texts(value: float, expected: str) -> None:
    """ECMA-262's Number::toString, because texts are hashed."""
    assert text(value) == expected


def test_texts_as_numbers() -> None:
    """A very long text is not read at all."""
    assert number("-Infinity") == -math.inf
    assert math.isnan(number("9" * 10_000))
    assert math.isnan(number("0x" + "f" * 10_000))


def test_versions_are_ordered_as_the_standard_says() -> None:
    """Its own row of examples, section 11."""
    row = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
           "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"]  # fmt: skip
    found = [semver.parse(word) for word in row]
    assert found == sorted(version for version in found if version)
    assert semver.parse("01.0.0") is None
    assert semver.parse("1" * 5000) is None
    assert semver.parse("1.0.0-00") is None


@pytest.mark.parametrize(
    ("relation", "expected"),
    [("=", False), ("!=", True), ("<", True), ("<=", True), (">", False), (">=", False),
     ("^", True), ("~", False), ("?", None)],
)  # fmt: skip
def test_relations_of_versions(relation: str, expected: bool | None) -> None:
    """1.2 against 1.3, and a relation that nobody knows."""
    assert said({"sem_ver": ["1.2", relation, "1.3"]}) is expected
    assert said({"sem_ver": ["1.2", relation]}) is None


def test_computed_shares_that_cannot_be_are_nothing() -> None:
    """A weight that is no integer, weights that sum to nothing or to too much."""

    def share(weight: object) -> dict[str, object]:
        return {"fractional": ["unit", ["a", {"if": [True, weight]}], ["b", -1]]}

    assert said(share(1)) == "a"
    assert [said(share(weight)) for weight in (1.5, True, "1", None, 0, 2**31)] == [None] * 6


def test_a_negative_weight_is_nothing() -> None:
    """It takes no share from the others either."""
    shares = {"fractional": [{"var": "unit"}, ["a", -50], ["b", 50], ["c", 50]]}
    rule = compile_targeting(shares, evaluators={})
    found = {rule.choose({"unit": f"unit-{n}"}) for n in range(200)}
    assert found == {"b", "c"}
    halves = {"fractional": [{"var": "unit"}, ["b", 50], ["c", 50]]}
    same = compile_targeting(halves, evaluators={})
    units = [{"unit": f"unit-{n}"} for n in range(200)]
    assert [rule.choose(unit) for unit in units] == [same.choose(unit) for unit in units]
