"""Targeting rules: JsonLogic with flagd's own operators, compiled once to closures.

A rule gives the name of a variant, true or false for variants of these names, or None for "no
opinion". Reusable rules (`$evaluators`) are written in place of their `$ref`. `$flagd.flagKey`
and `$flagd.timestamp` stand in the data like everything else.

Source: flagd's flag definition, flagd.dev/reference/flag-definitions; names of operators are
those of the published targeting schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from apps.core.flags.faults import Fault, inside
from apps.core.flags.fractional import compile_fractional
from apps.core.flags.hashing import HashVersion
from apps.core.flags.jsonlogic import text
from apps.core.flags.operators import OPERATORS, Data, Rule, constant, listed, named

MAX_REFS = 8
MAX_DEPTH = 64
MAX_NODES = 10_000
"""Counted after every `$ref` is written out, so that a few of them cannot multiply."""
REF = "$ref"


@dataclass(frozen=True, slots=True)
class Targeting:
    """A compiled rule; a `broken` one has an operator or a reference that nobody knows."""

    choose: Rule
    broken: bool
    faults: tuple[Fault, ...]


def compile_targeting(
    expression: object,
    *,
    evaluators: Mapping[str, object],
    version: HashVersion = "v2",
    variants: Mapping[str, object] | None = None,
    at: str = "",
    within: tuple[str, ...] = (),
) -> Targeting:
    """Compile and check; never raises.

    Args:
        expression: JsonLogic.
        evaluators: what `$ref` may name.
        version: hash of `fractional`.
        variants: names that a literal result must be one of; None does not check.
        at: pointer of the expression.
        within: the evaluator that the expression is.
    """
    compiler = _Compiler(evaluators, version, variants)
    choose = compiler.rule(expression, _Place(at, names_variant=True, refs=within))
    return Targeting(choose, compiler.broken, tuple(compiler.faults))


def variant_name(result: object) -> str:
    """The variant that a rule's result means, as flagd reads it."""
    return result if isinstance(result, str) else text(result)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an expression stands."""

    pointer: str
    names_variant: bool
    depth: int = 0
    refs: tuple[str, ...] = ()

    def below(self, *names: str | int, names_variant: bool = False) -> _Place:
        pointer = self.pointer
        for name in names:
            pointer = inside(pointer, name)
        return _Place(pointer, names_variant, self.depth + 1, self.refs)


@dataclass(slots=True)
class _Compiler:
    evaluators: Mapping[str, object]
    version: HashVersion
    variants: Mapping[str, object] | None
    faults: list[Fault] = field(default_factory=list)
    broken: bool = False
    nodes: int = 0

    def rule(self, expression: object, place: _Place) -> Rule:
        """Compile one expression."""
        self.nodes += 1
        if self.nodes > MAX_NODES or place.depth > MAX_DEPTH:
            return self._broken(place, "the rule is too large or nested too deeply")
        if isinstance(expression, list):
            return self._list(expression, place)
        if not isinstance(expression, dict) or len(expression) != 1:
            return self._literal(expression, place)
        [(name, given)] = expression.items()
        if name == REF:
            return self._reference(given, place)
        args = given if isinstance(given, list) else [given]
        if name == "fractional":
            return self._fractional(args, place)
        return self._operator(name, args, place, wrapped=isinstance(given, list))

    def _literal(self, value: object, place: _Place) -> Rule:
        checked = place.names_variant and value is not None and self.variants is not None
        if checked and variant_name(value) not in (self.variants or ()):
            self._fault(place, f"{variant_name(value)!r} is not a variant")
        return constant(value)

    def _list(self, items: list[object], place: _Place) -> Rule:
        rules = [self.rule(item, place.below(at)) for at, item in enumerate(items)]
        return lambda data: [rule(data) for rule in rules]

    def _operator(self, name: str, args: list[object], place: _Place, *, wrapped: bool) -> Rule:
        build = OPERATORS.get(name)
        if build is None:
            return self._broken(place.below(name), f"{name!r} is not an operator")
        if name == "var" and len(args) == 1 and isinstance(args[0], str):
            return named(args[0])
        rules = [
            self.rule(
                arg,
                place.below(
                    *((name, at) if wrapped else (name,)),
                    names_variant=place.names_variant and _is_result(name, at, len(args)),
                ),
            )
            for at, arg in enumerate(args)
        ]
        if name == "in" and len(args) == 2 and _texts(args[1]):
            build = listed(_texts(args[1]))
        return build(rules)

    def _fractional(self, args: list[object], place: _Place) -> Rule:
        here = place.below("fractional")

        def inner(expression: object, at: str, names_variant: bool) -> Rule:
            return self.rule(expression, replace(here, pointer=at, names_variant=names_variant))

        compiled, faults = compile_fractional(
            args,
            here.pointer,
            rule=inner,
            version=self.version,
            names_variant=place.names_variant,
        )
        self.faults.extend(faults)
        return compiled

    def _reference(self, name: object, place: _Place) -> Rule:
        here = place.below(REF)
        if not isinstance(name, str) or name not in self.evaluators:
            self.broken = True
            self._fault(here, f"there is no evaluator {name!r}", warning=True)
            return constant(None)
        if name in place.refs:
            return self._broken(here, f"the evaluator {name!r} refers to itself")
        if len(place.refs) >= MAX_REFS:
            return self._broken(here, f"more than {MAX_REFS} evaluators refer to each other")
        target = replace(
            here,
            pointer=inside("/$evaluators", name),
            names_variant=place.names_variant,
            refs=(*place.refs, name),
        )
        return self.rule(self.evaluators[name], target)

    def _broken(self, place: _Place, problem: str) -> Rule:
        self.broken = True
        self._fault(place, problem)
        return constant(None)

    def _fault(self, place: _Place, problem: str, *, warning: bool = False) -> None:
        self.faults.append(Fault(place.pointer, problem, "warning" if warning else "rule"))


def _is_result(name: str, at: int, count: int) -> bool:
    """Whether this argument of an operator may become its result."""
    return name == "if" and (at % 2 == 1 or at == count - 1)


def _texts(value: object) -> list[str]:
    """A literal list of texts, or nothing."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return []
    return value


__all__ = ["Data", "Targeting", "compile_targeting", "variant_name"]
