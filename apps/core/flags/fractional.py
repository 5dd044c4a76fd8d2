"""The operator `fractional`: a share of the units for each value, always the same for a unit.

`[[value, weight], …]` hashes flag key and targeting key; with an expression in front its value
is hashed instead. A missing weight is 1, a negative one 0. Values and weights may be expressions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from apps.core.flags.faults import Fault, inside
from apps.core.flags.hashing import HashVersion, fractional_hash, scaled, value_hash
from apps.core.flags.operators import NOTHING, Data, Rule

MAX_TOTAL = 2**31 - 1
Compile = Callable[[object, str, bool], Rule]
"""Expression, pointer, and whether its value names a variant."""
HashOf = Callable[[Data], int | None]


@dataclass(frozen=True, slots=True)
class _Share:
    value: Rule
    weight: Rule | int


def compile_fractional(
    args: Sequence[object], at: str, *, rule: Compile, version: HashVersion, names_variant: bool
) -> tuple[Rule, list[Fault]]:
    """The rule and what is wrong with it; a rule that is wrong gives None.

    Args:
        args: of the operator.
        at: their pointer.
        rule: compiles what stands inside.
        version: which hash.
        names_variant: whether the values name variants.
    """
    explicit = bool(args) and not isinstance(args[0], list)
    first = 1 if explicit else 0
    shares, faults = [], []
    for place, entry in enumerate(args[first:], start=first):
        fault = _fault(entry, inside(at, place))
        if fault:
            faults.append(fault)
        else:
            shares.append(_share(entry, inside(at, place), rule, names_variant=names_variant))
    if not shares and not faults:
        faults.append(Fault(at, "there is nothing to share"))
    fixed = [share.weight for share in shares if isinstance(share.weight, int)]
    if len(fixed) == len(shares) and shares and not 0 < sum(fixed) <= MAX_TOTAL:
        problem = f"the weights sum to {sum(fixed)}, not to 1 to {MAX_TOTAL}"
        faults.append(Fault(at, problem, "rule" if sum(fixed) else "idle"))
    if faults:
        return NOTHING, faults
    hashed = (
        _of_value(rule(args[0], inside(at, 0), False), version) if explicit else _of_unit(version)
    )
    if len(fixed) == len(shares):
        return _fixed(shares, fixed, hashed, explicit=explicit), []
    return _computed(shares, hashed), []


def _fault(entry: object, at: str) -> Fault | None:
    if not isinstance(entry, list) or not 1 <= len(entry) <= 2:
        return Fault(at, "a share is [value] or [value, weight]")
    weight = entry[1] if len(entry) == 2 else 1
    if isinstance(weight, dict) or (isinstance(weight, int) and not isinstance(weight, bool)):
        return None
    return Fault(inside(at, 1), "a weight must be a whole number")


def _share(entry: object, at: str, rule: Compile, *, names_variant: bool) -> _Share:
    value, weight = (*entry, 1)[:2] if isinstance(entry, list) else (None, 1)
    compiled = rule(value, inside(at, 0), names_variant)
    if isinstance(weight, int):
        return _Share(compiled, max(0, weight))
    return _Share(compiled, rule(weight, inside(at, 1), False))


def _of_unit(version: HashVersion) -> HashOf:
    def hashed(data: Data) -> int | None:
        key, own = data.get("targetingKey"), data["$flagd"]
        if not isinstance(key, str) or not key or not isinstance(own, dict):
            return None
        return fractional_hash(version, own["flagKey"], key)

    return hashed


def _of_value(value: Rule, version: HashVersion) -> HashOf:
    return lambda data: value_hash(version, value(data))


def _fixed(
    shares: Sequence[_Share], weights: Sequence[int], hashed: HashOf, *, explicit: bool
) -> Rule:
    ends = list(accumulate(weights))
    values, total = [share.value for share in shares], ends[-1]
    if len(shares) == 1 and not explicit:
        return values[0]

    def choose(data: Data) -> object:
        found = hashed(data)
        if found is None:
            return None
        return values[bisect_right(ends, found * total >> 32)](data)

    return choose


def _computed(shares: Sequence[_Share], hashed: HashOf) -> Rule:
    def choose(data: Data) -> object:
        found, weights = hashed(data), [_weight(share, data) for share in shares]
        known = [weight for weight in weights if weight is not None]
        total = sum(known)
        if found is None or len(known) < len(weights) or not 0 < total <= MAX_TOTAL:
            return None
        place = bisect_right(list(accumulate(known)), scaled(found, total))
        return shares[place].value(data)

    return choose


def _weight(share: _Share, data: Data) -> int | None:
    value = share.weight if isinstance(share.weight, int) else share.weight(data)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return max(0, value)
