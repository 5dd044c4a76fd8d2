"""The operators of targeting rules that take ready arguments, as closures over them.

An operator that is called wrongly gives None, which means that the rule has no opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from apps.core.flags import semver
from apps.core.flags.jsonlogic import (
    contains,
    less,
    less_or_equal,
    look_up,
    loosely_equal,
    strictly_equal,
    text,
    truthy,
)

Data = Mapping[str, object]
Rule = Callable[[Data], object]
"""A compiled expression: from what is known of a request to a value."""
Build = Callable[[Sequence[Rule]], Rule]


def constant(value: object) -> Rule:
    """A rule that always says the same."""
    return lambda _data: value


NOTHING = constant(None)


def _two(compare: Callable[[object, object], bool], *, negated: bool = False) -> Build:
    def build(args: Sequence[Rule]) -> Rule:
        left, right = (*args, NOTHING, NOTHING)[:2]
        if negated:
            return lambda data: not compare(left(data), right(data))
        return lambda data: compare(left(data), right(data))

    return build


def _row(compare: Callable[[object, object], bool]) -> Build:
    """Two arguments, or three for "between"."""

    def build(args: Sequence[Rule]) -> Rule:
        if len(args) < 3:
            return _two(compare)(args)
        first, middle, last = args[:3]

        def between(data: Data) -> bool:
            value = middle(data)
            return compare(first(data), value) and compare(value, last(data))

        return between

    return build


def _truth(*, wanted: bool) -> Build:
    def build(args: Sequence[Rule]) -> Rule:
        value = args[0] if args else NOTHING
        return lambda data: truthy(value(data)) is wanted

    return build


def _until(*, stops_at: bool) -> Build:
    """`or` is the first true argument, `and` the first false one; else the last."""

    def build(args: Sequence[Rule]) -> Rule:
        def walk(data: Data) -> object:
            value: object = None
            for rule in args:
                value = rule(data)
                if truthy(value) is stops_at:
                    return value
            return value

        return walk

    return build


def _if(args: Sequence[Rule]) -> Rule:
    """Pairs of condition and result, then maybe what else."""
    pairs = [(args[at], args[at + 1]) for at in range(0, len(args) - 1, 2)]
    otherwise = args[-1] if len(args) % 2 else NOTHING

    def choose(data: Data) -> object:
        for condition, result in pairs:
            if truthy(condition(data)):
                return result(data)
        return otherwise(data)

    return choose


def _cat(args: Sequence[Rule]) -> Rule:
    return lambda data: "".join([text(rule(data)) for rule in args])


def _var(args: Sequence[Rule]) -> Rule:
    path, default = (*args, NOTHING, NOTHING)[:2]

    def value(data: Data) -> object:
        name = path(data)
        found = look_up(data, text(name))
        return default(data) if found is None else found

    return value


def _text_test(test: Callable[[str, str], bool]) -> Build:
    def build(args: Sequence[Rule]) -> Rule:
        if len(args) != 2:
            return NOTHING
        whole, part = args

        def holds(data: Data) -> bool | None:
            left, right = whole(data), part(data)
            return test(left, right) if isinstance(left, str) and isinstance(right, str) else None

        return holds

    return build


def _sem_ver(args: Sequence[Rule]) -> Rule:
    if len(args) != 3:
        return NOTHING
    left, relation, right = args

    def holds(data: Data) -> bool | None:
        first, second = semver.parse(text(left(data))), semver.parse(text(right(data)))
        compare = semver.COMPARE.get(text(relation(data)))
        if first is None or second is None or compare is None:
            return None
        return compare(first, second)

    return holds


OPERATORS: Mapping[str, Build] = {
    "and": _until(stops_at=False),
    "or": _until(stops_at=True),
    "!": _truth(wanted=False),
    "!!": _truth(wanted=True),
    "if": _if,
    "==": _two(loosely_equal),
    "!=": _two(loosely_equal, negated=True),
    "===": _two(strictly_equal),
    "!==": _two(strictly_equal, negated=True),
    "<": _row(less),
    "<=": _row(less_or_equal),
    ">": _two(lambda a, b: less(b, a)),
    ">=": _two(lambda a, b: less_or_equal(b, a)),
    "in": _two(contains),
    "var": _var,
    "cat": _cat,
    "starts_with": _text_test(str.startswith),
    "ends_with": _text_test(str.endswith),
    "sem_ver": _sem_ver,
}


def named(name: str) -> Rule:
    """`var` with a fixed name and no default, the commonest rule of all."""
    if name == "" or "." in name:
        return lambda data: look_up(data, name)
    return lambda data: data.get(name)


def listed(words: Sequence[str]) -> Build:
    """`in` with a fixed list of texts, in constant time."""
    known = frozenset(words)

    def build(args: Sequence[Rule]) -> Rule:
        needle = args[0]

        def holds(data: Data) -> bool:
            value = needle(data)
            return isinstance(value, str) and value in known

        return holds

    return build
