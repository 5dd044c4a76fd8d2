"""Our rules against flagd's own Python evaluator, core version 1.0.0, whose shares are v2.

Where it differs from JsonLogic's reference we follow the reference, and these places are kept
out of the comparison: null and booleans as numbers or texts (`null == 0`, `1 === true`, `cat` of
true), empty texts as numbers, and three arguments of `>`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.contrib.tools.flagd.core.targeting.targeting import targeting
from openfeature.evaluation_context import EvaluationContext

from apps.core.flags.context import FlagContext
from apps.core.flags.definition import parse_document
from apps.core.flags.targeting import compile_targeting
from tests.core.flags.gherkin import snapshot_of

ATTRIBUTES: dict[str, object] = {
    "tenant": "pilot",
    "user": {"name": "jon", "age": 42, "tags": ["a", "가나"]},
    "count": 3,
    "version": "2.1.0",
    "words": ["x", "pilot", "1"],
}
KNOWN = {**ATTRIBUTES, "targetingKey": "user-1", "$flagd": {"flagKey": "f", "timestamp": 0}}
TEXTS = ["a", "pilot", "jon", "1", "42", "1.0.0", "2.1.0", "v2.1", "3.0.0-rc.1", "가나", "x.y"]

texts = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(["tenant", "user.name", "version", "targetingKey", "$flagd.flagKey"]).map(
        lambda path: {"var": path}
    ),
)
numbers = st.one_of(
    st.integers(-5, 50), st.sampled_from([0.5, 1.0]), st.just({"var": ["user.age", 7]})
)
plain = st.one_of(texts, numbers)
relations = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "^", "~", "=="])
shares = st.lists(
    st.tuples(st.sampled_from(TEXTS), st.integers(-2, 100)).map(list), min_size=2, max_size=5
).filter(lambda given: sum(max(0, weight) for _, weight in given) > 0)

tests = st.recursive(
    st.one_of(
        st.tuples(st.sampled_from(["==", "!=", "===", "!==", ">", ">="]), plain, plain).map(
            lambda op: {op[0]: [op[1], op[2]]}
        ),
        st.tuples(st.sampled_from(["<", "<="]), st.lists(numbers, min_size=2, max_size=3)).map(
            lambda op: {op[0]: op[1]}
        ),
        st.tuples(texts, st.one_of(texts, st.just({"var": "words"}), st.lists(texts))).map(
            lambda op: {"in": list(op)}
        ),
        st.tuples(st.sampled_from(["starts_with", "ends_with"]), plain, plain).map(
            lambda op: {op[0]: [op[1], op[2]]}
        ),
        st.tuples(plain, relations, texts).map(lambda op: {"sem_ver": list(op)}),
    ),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda op: {op[0]: op[1]}
        ),
        st.tuples(st.sampled_from(["!", "!!"]), inner).map(lambda op: {op[0]: [op[1]]}),
    ),
    max_leaves=6,
)
values = st.one_of(
    plain,
    st.lists(plain, min_size=1, max_size=3).map(lambda parts: {"cat": parts}),
    shares.map(lambda given: {"fractional": given}),
    st.tuples(texts, shares).map(lambda op: {"fractional": [{"cat": [op[0]]}, *op[1]]}),
)
rules = st.one_of(
    tests,
    st.lists(st.one_of(tests, values), min_size=2, max_size=5).map(lambda args: {"if": args}),
    values.filter(lambda value: isinstance(value, dict)),
)


# What a client may send: other scripts, composed and decomposed letters, texts that look like
# numbers, integers that no float holds, values inside values.
leaves = st.one_of(
    st.sampled_from(["a", "42", "1.0.0", "가나", "é", "e\u0301", "😀", "1e3", "null", "true"]),
    st.text(min_size=1, max_size=4).filter(lambda text: text.strip() == text),
    st.integers(-5, 50),
    st.sampled_from([2**31, 2**53 - 1, 2**53, 2**60, -(2**53), 10**20, 0.5, 2.5, -0.5]),
)
contexts = st.dictionaries(
    st.sampled_from(["a", "n", "가"]),
    st.recursive(
        leaves,
        lambda inner: st.dictionaries(st.sampled_from(["b", "c", "가"]), inner, max_size=3),
        max_leaves=4,
    ),
    max_size=3,
)
paths = st.sampled_from(["a", "a.b", "a.b.c", "n", "가", "가.가", "missing", "missing.deep"])
looked_up = st.tuples(paths, leaves).map(lambda pair: {"var": list(pair)})
operands = st.one_of(looked_up, leaves)
sights = st.one_of(
    looked_up,
    paths.map(lambda path: {"var": path}),
    st.tuples(
        st.sampled_from(["==", "!=", "===", "!==", "starts_with", "ends_with"]), operands, operands
    ).map(lambda op: {op[0]: [op[1], op[2]]}),
    st.tuples(operands, relations, st.sampled_from(["1.0.0", "2.1", "42"])).map(
        lambda op: {"sem_ver": list(op)}
    ),
    st.tuples(operands, operands).map(lambda pair: {"if": [pair[0], "x", pair[1]]}),
    st.tuples(paths, leaves).map(
        lambda pair: {"fractional": [{"cat": [{"var": [pair[0], "-"]}]}, ["x", 1], ["y", 3]]}
    ),
)


def _plain(value: object) -> bool:
    """Whether both write it alike: objects as texts and large floats are JavaScript's business."""
    return not isinstance(value, dict | float)


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """The peer logs every operator that cannot be applied."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@given(rules)
@settings(max_examples=1000, deadline=None)
def test_rules_mean_what_flagd_means(rule: dict[str, object]) -> None:
    """The same rule gives the same value."""
    compiled = compile_targeting(rule, evaluators={})
    assert not compiled.faults
    theirs = targeting("f", rule, EvaluationContext("user-1", ATTRIBUTES))
    assert compiled.choose(KNOWN) == theirs


@given(sights, contexts)
@settings(max_examples=1000, deadline=None)
def test_what_a_client_sends_is_seen_as_flagd_sees_it(
    rule: dict[str, object], context: dict[str, object]
) -> None:
    """Paths into it, what is missing, and every kind of value."""
    if "fractional" in rule and not all(_plain(value) for value in context.values()):
        return
    compiled = compile_targeting(rule, evaluators={})
    assert not compiled.faults
    known = {**context, "targetingKey": "u", "$flagd": {"flagKey": "f", "timestamp": 0}}
    assert compiled.choose(known) == targeting("f", rule, EvaluationContext("u", context))


def test_ten_thousand_units_get_flagds_variant() -> None:
    """A whole flag, resolved by both for many units."""
    document = {
        "flags": {
            "debate_mode": {
                "state": "ENABLED",
                "variants": {"on": True, "off": False},
                "defaultVariant": "off",
                "targeting": {"fractional": [["on", 10], ["off", 90]]},
            }
        }
    }
    snapshot = snapshot_of(parse_document(document))
    peer = FlagdCore()
    peer.set_flags(document)
    units = [f"사용자-{n}" for n in range(10_000)]
    ours = [
        snapshot.evaluate_all(FlagContext(targeting_key=unit))["debate_mode"].value
        for unit in units
    ]
    theirs = [
        peer.resolve_boolean_value("debate_mode", False, EvaluationContext(unit)).value
        for unit in units
    ]
    assert ours == theirs
