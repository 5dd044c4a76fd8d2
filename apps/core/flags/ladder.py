"""The precedence ladder of one flag, compiled: the first layer with an opinion decides.

1 KILLED         kill switch: of all flags, of this one, or by the local file
2 ENV_VETO       the environment says false
  STATE          the definition is DISABLED
3 PREREQUISITE   a flag that must be on is not
4 OVERRIDE       the request's header
5 TARGETING      deny and allow lists, then rules
6 ROLLOUT        a staged rollout or an experiment
7 SQL_DEFAULT    the operator's standing decision
8 ENV            the environment says true, and SQL is silent
9 CODE           off
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from apps.core.domain.flags import FlagDecision, FlagValue
from apps.core.flags.definition import SALT, FlagDefinition
from apps.core.flags.hashing import HashVersion, rollout_bucket
from apps.core.flags.rollout import CANARY, CONTROL, Split, arm_of_unit, pool_width, unit_of
from apps.core.flags.targeting import Targeting, compile_targeting, variant_name
from apps.core.settings import TriState

SWITCH: Mapping[str, FlagValue] = {"on": True, "off": False}
"""The variants of a flag that only the code declares."""
# What a rule may meet in data that nobody checked; anything else is a fault of ours.
SURPRISES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(slots=True)
class Asked:
    """One request while its flags are decided."""

    data: dict[str, object]
    overrides: Mapping[str, bool]
    decisions: dict[str, FlagDecision] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


Layer = Callable[[Asked], FlagDecision | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One layer of a flag: a fixed decision, a function of the request, or nothing to say."""

    name: str
    detail: str
    fixed: FlagDecision | None = None
    layer: Layer | None = None

    @property
    def opinion(self) -> Layer:
        """What this layer says of a request."""
        return self.layer or (lambda _asked: self.fixed)


@dataclass(frozen=True, slots=True)
class Sources:
    """All that is known of one flag; `killed` says by what, and None that it is not.

    default_variant: of SQL; None when SQL has no opinion.
    declared: whether the code knows the flag; then its default is off, else it is the caller's.
    """

    key: str
    declared: bool = True
    definition: FlagDefinition | None = None
    default_variant: str | None = None
    hash_version: HashVersion = "v2"
    salt: str = SALT
    requires: tuple[str, ...] = ()
    rollout: Split | None = None
    environment: TriState = "auto"
    environment_name: str = ""
    environment_place: str = ""
    killed: str | None = None
    evaluators: Mapping[str, object] = field(default_factory=dict)

    @property
    def variants(self) -> Mapping[str, FlagValue]:
        """Name to value."""
        return self.definition.variants if self.definition else SWITCH

    def switched(self, *, to: bool) -> str | None:
        """The variant that is on, or off; None for a flag that is no switch."""
        preferred = "on" if to else "off"
        if self.variants.get(preferred) is to:
            return preferred
        return next((name for name in sorted(self.variants) if self.variants[name] is to), None)

    def decision(self, variant: str | None, reason: str, layer: str) -> FlagDecision:
        """A decision for a variant; None leaves the value to the code."""
        value = None if variant is None else self.variants[variant]
        return FlagDecision(value is True, reason, layer, variant=variant, value=value)

    def off(self, reason: str, layer: str) -> FlagDecision:
        """A decision for off."""
        return self.decision(self.switched(to=False), reason, layer)

    def failed(self, code: str) -> FlagDecision:
        """The code's default, because a rule could not be evaluated."""
        return FlagDecision(False, "ERROR", "TARGETING", error=code)


def steps(flag: Sources) -> tuple[Step, ...]:
    """The layers of a flag in order; the last one always has an opinion."""
    return (
        _kill(flag),
        _veto(flag),
        _state(flag),
        _prerequisite(flag),
        _override(flag),
        _targeting(flag),
        _rollout(flag),
        _sql_default(flag),
        _environment(flag),
        _code(flag),
    )


def _kill(flag: Sources) -> Step:
    if flag.killed is None:
        return Step("KILLED", "not killed")
    return Step("KILLED", flag.killed, fixed=flag.off("DISABLED", "KILLED"))


def _veto(flag: Sources) -> Step:
    if flag.environment != "false":
        return Step("ENV_VETO", f"{flag.environment_name} is {flag.environment}")
    detail = _spoken(flag)
    return Step("ENV_VETO", detail, fixed=flag.off("DISABLED", "ENV_VETO"))


def _spoken(flag: Sources) -> str:
    said = f"{flag.environment_name}={flag.environment}"
    return f"{said} in {flag.environment_place}" if flag.environment_place else said


def _state(flag: Sources) -> Step:
    if flag.definition is None or flag.definition.state == "ENABLED":
        return Step("STATE", "enabled")
    return Step("STATE", "DISABLED", fixed=flag.decision(None, "DISABLED", "STATE"))


def _prerequisite(flag: Sources) -> Step:
    if not flag.requires:
        return Step("PREREQUISITE", "none")
    off, requires = flag.off("DEFAULT", "PREREQUISITE"), flag.requires

    def layer(asked: Asked) -> FlagDecision | None:
        for key in requires:
            needed = asked.decisions.get(key)
            if needed is None or not needed.on:
                return off
        return None

    return Step("PREREQUISITE", f"needs {', '.join(requires)}", layer=layer)


def _override(flag: Sources) -> Step:
    key, on = flag.key, flag.switched(to=True)
    # A flag of words or numbers has no variant that is off; its value is then the code's own.
    wishes = {False: flag.off("TARGETING_MATCH", "OVERRIDE")}
    if on is not None:
        wishes[True] = flag.decision(on, "TARGETING_MATCH", "OVERRIDE")

    def layer(asked: Asked) -> FlagDecision | None:
        wish = asked.overrides.get(key)
        return None if wish is None else wishes.get(wish)

    return Step("OVERRIDE", "header X-DTRAG-Flags", layer=layer)


def _targeting(flag: Sources) -> Step:
    definition = flag.definition
    if definition is None or not (definition.targeting or definition.allow or definition.deny):
        return Step("TARGETING", "no rules")
    named = [
        (pair, decision)
        for pairs, to in ((definition.deny, False), (definition.allow, True))
        for pair in pairs
        if (decision := flag.decision(flag.switched(to=to), "TARGETING_MATCH", "TARGETING"))
    ]
    rules = _rules(flag, definition) if definition.targeting else None
    if not named and rules is not None:
        return Step("TARGETING", "rules", layer=rules)

    def layer(asked: Asked) -> FlagDecision | None:
        for (attribute, value), decision in named:
            if asked.data.get(attribute) == value:
                return decision
        return rules(asked) if rules else None

    return Step("TARGETING", "allow and deny lists, rules", layer=layer)


def _rules(flag: Sources, definition: FlagDefinition) -> Layer:
    compiled: Targeting = compile_targeting(
        definition.targeting, evaluators=flag.evaluators, version=flag.hash_version
    )
    found = {name: flag.decision(name, "TARGETING_MATCH", "TARGETING") for name in flag.variants}
    failed, unknown = flag.failed("PARSE_ERROR"), flag.failed("GENERAL")
    choose, key = compiled.choose, flag.key
    if compiled.broken:
        return lambda _asked: failed

    def layer(asked: Asked) -> FlagDecision | None:
        own = asked.data["$flagd"]
        own["flagKey"] = key  # type: ignore[index]
        try:
            result = choose(asked.data)
        except SURPRISES:
            return unknown
        return None if result is None else found.get(variant_name(result), unknown)

    return layer


def _rollout(flag: Sources) -> Step:
    rollout = flag.rollout
    if rollout is None:
        return Step("ROLLOUT", "none")
    taken = flag.switched(to=True) if rollout.variant is None else rollout.variant
    rest = flag.off("SPLIT", "ROLLOUT").variant or flag.default_variant
    known = {name for name in (taken, *rollout.arms) if name is not None}
    if not known or not known <= set(flag.variants):
        detail = "names a variant that does not exist"
        return Step("ROLLOUT", detail, fixed=flag.failed("GENERAL"))
    detail = f"{rollout.percent:g} % by {', '.join(rollout.bucket_by)}"
    return Step("ROLLOUT", detail, layer=_split(flag, rollout, taken=taken, rest=rest))


def _split(flag: Sources, rollout: Split, *, taken: str | None, rest: str | None) -> Layer:
    key, end, bucket_by = flag.key, rollout.end, rollout.bucket_by
    salt = flag.salt if rollout.salt is None else rollout.salt
    bucket_of = rollout_bucket(flag.hash_version, key, salt)
    arm_of = arm_of_unit(rollout, flag.hash_version, salt) if rollout.arms else None
    nobody = flag.decision(rest, "DEFAULT", "ROLLOUT")
    unusable = flag.failed("INVALID_CONTEXT")
    variants, counts, width = flag.variants, rollout.counts, pool_width(rollout)

    def layer(asked: Asked) -> FlagDecision:
        unit = unit_of(asked.data, bucket_by)
        if unit is None:
            asked.missing.append(key)
            return nobody
        try:
            bucket = bucket_of(unit)
        except UnicodeEncodeError:
            return unusable
        asked.units[key] = unit
        arm: str | None = CONTROL
        variant, pool = rest, bucket // width
        if bucket < end:
            variant, pool = arm_of(unit) if arm_of else (taken, pool)
            arm = variant if arm_of else CANARY
        elif arm_of:
            arm = None
        value = None if variant is None else variants[variant]
        return FlagDecision(
            value is True, "SPLIT", "ROLLOUT", bucket, rollout.id, variant, value,
            rollout.epoch, rollout.stage, arm if counts else None, pool=pool,
        )  # fmt: skip

    return layer


def _sql_default(flag: Sources) -> Step:
    variant = flag.default_variant
    if variant is None:
        return Step("SQL_DEFAULT", "SQL has no opinion")
    if variant not in flag.variants:
        detail = f"{variant} is not a variant"
        return Step("SQL_DEFAULT", detail, fixed=flag.failed("GENERAL"))
    ruled = flag.definition is not None and flag.definition.targeting is not None
    reason = "DEFAULT" if ruled else "STATIC"
    return Step("SQL_DEFAULT", variant, fixed=flag.decision(variant, reason, "SQL_DEFAULT"))


def _environment(flag: Sources) -> Step:
    silent = flag.definition is None and flag.default_variant is None and flag.rollout is None
    if flag.environment != "true":
        return Step("ENV", f"{flag.environment_name} is {flag.environment}")
    if not silent:
        return Step("ENV", f"{_spoken(flag)}, but SQL speaks")
    detail = _spoken(flag)
    on = flag.decision(flag.switched(to=True), "STATIC", "ENV")
    return Step("ENV", detail, fixed=on)


def _code(flag: Sources) -> Step:
    if flag.declared or flag.definition is None:
        return Step("CODE", "off in code", fixed=flag.off("DEFAULT", "CODE"))
    return Step("CODE", "left to the caller", fixed=flag.decision(None, "DEFAULT", "CODE"))
