"""Flag definitions in flagd's JSON: read, checked, and written so that nothing is lost.

A document is `{"flags": {key: flag}, "$evaluators": {name: rule}, "metadata": {...}}`. What we do
not know is kept. Ours are these `metadata` of a flag: `owner`, `expiresAt`, `kind`,
`hash_version`, `salt`, `percent`, and three lists that are read as lists or as one text with
commas, and written as a text because the published schema allows no lists: `prerequisites` (flag
keys), `allow` and `deny` (`attribute:value`, e.g. `tenant:pilot`).

Source: flagd's flag definition, schema v0 (flagd.dev/schema/v0/flags.json).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Any

from apps.core.domain.flags import FlagValue
from apps.core.flags.faults import IMPORTED, LENIENT, WRITTEN, Fault, Weight, inside, refuse
from apps.core.flags.hashing import HashVersion
from apps.core.flags.jsontext import read, write
from apps.core.flags.shape import LISTS, Kind, State, flag_faults, items, metadata_faults
from apps.core.flags.targeting import compile_targeting

SALT = "s1"
DOCUMENT = ("flags", "$evaluators", "metadata")


@dataclass(frozen=True, slots=True)
class FlagDefinition:
    """One flag as operators write it; `raw` is the object they wrote, with all that we ignore.

    variants: name to value, all of one kind: booleans, texts, numbers or objects.
    default_variant: None leaves the value to the code that asks.
    targeting: JsonLogic, None without rules.
    expires_at: ISO date after which the flag is listed as stale; nothing else happens.
    percent: share of the units that an operator set by hand, without a rollout; 0-100.
    allow, deny: pairs of attribute and value that are on, or off, whatever the rules say.
    warnings: what a person should look at.
    """

    key: str
    state: State
    variants: Mapping[str, FlagValue]
    default_variant: str | None
    targeting: Mapping[str, object] | None
    raw: Mapping[str, object]
    hash_version: HashVersion = "v2"
    salt: str = SALT
    kind: Kind = "release"
    owner: str | None = None
    expires_at: str | None = None
    percent: float | None = None
    prerequisites: tuple[str, ...] = ()
    allow: tuple[tuple[str, str], ...] = ()
    deny: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Fault, ...] = ()

    def stale(self, today: date) -> bool:
        """Whether its expiry date is over."""
        return self.expires_at is not None and date.fromisoformat(self.expires_at) < today


@dataclass(frozen=True, slots=True)
class FlagSet:
    """A whole document; `extra` are top-level members that we do not know."""

    flags: Mapping[str, FlagDefinition]
    evaluators: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """Of all flags."""
        return tuple(fault for flag in self.flags.values() for fault in flag.warnings)


def parse_document(source: bytes | str | Mapping[str, object], *, lenient: bool = False) -> FlagSet:
    """Read a flagd document.

    Args:
        source: JSON text, or what a JSON reader made of it.
        lenient: accept rules that flagd accepts too and evaluates to an error; they are then
            told in `warnings`. Shares whose weights are all 0 are accepted and told anyway.

    Raises:
        BadDefinition: with the pointer of every fault.
    """
    document, accepted = read(source), LENIENT if lenient else IMPORTED
    faults = [
        Fault(f"/{name}", "must be an object", "shape")
        for name in DOCUMENT
        if not isinstance(document.get(name, None if name == "flags" else {}), dict)
    ]
    refuse(faults, accepted=accepted)
    flags, evaluators, metadata = (_object(document, name) for name in DOCUMENT)
    faults = metadata_faults(metadata, "/metadata", own=False)
    for name, rule in evaluators.items():
        at = inside("/$evaluators", name)
        faults += compile_targeting(rule, evaluators=evaluators, at=at, within=(name,)).faults
    found = {}
    for key, raw in flags.items():
        definition, wrong = _flag(key, raw, evaluators, inside("/flags", key), accepted)
        faults += wrong
        if definition is not None:
            found[key] = definition
    refuse(faults, accepted=accepted)
    extra = {name: value for name, value in document.items() if name not in DOCUMENT}
    return FlagSet(MappingProxyType(found), evaluators, metadata, extra)


def parse_flag(
    key: str,
    source: bytes | str | Mapping[str, object],
    *,
    evaluators: Mapping[str, object] | None = None,
    lenient: bool = False,
) -> FlagDefinition:
    """Read one flag of a document; pointers start at the flag.

    Raises:
        BadDefinition: with the pointer of every fault.
    """
    accepted = LENIENT if lenient else WRITTEN
    definition, faults = _flag(key, read(source), evaluators or {}, "", accepted)
    refuse(faults, accepted=accepted)
    # What has no definition has a fault of its shape, and was refused.
    assert definition is not None  # noqa: S101
    return definition


def export_document(
    flags: Iterable[FlagDefinition],
    *,
    evaluators: Mapping[str, object] | None = None,
    metadata: Mapping[str, object] | None = None,
    extra: Mapping[str, object] | None = None,
) -> bytes:
    """The document that `parse_document` reads back to the same flags; equal input, equal bytes."""
    document = dict(extra or {})
    document["flags"] = {flag.key: exported(flag) for flag in flags}
    if evaluators:
        document["$evaluators"] = dict(evaluators)
    if metadata:
        document["metadata"] = dict(metadata)
    return write(document)


def exported(flag: FlagDefinition) -> dict[str, object]:
    """One flag as flagd reads it; what it does not know is as it came."""
    raw = dict(flag.raw)
    metadata = raw.get("metadata")
    if isinstance(metadata, dict):
        lists = {name: ",".join(items(metadata[name])) for name in LISTS if name in metadata}
        raw["metadata"] = {**metadata, **lists}
    return raw


def _object(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = document.get(name, {})
    return value if isinstance(value, dict) else {}


def _flag(
    key: str,
    raw: object,
    evaluators: Mapping[str, object],
    at: str,
    accepted: Collection[Weight],
) -> tuple[FlagDefinition | None, list[Fault]]:
    if not isinstance(raw, dict):
        return None, [Fault(at, "a flag must be an object", "shape")]
    faults = flag_faults(key, raw, at)
    if faults:
        return None, faults
    metadata, targeting = raw.get("metadata", {}), raw.get("targeting") or None
    definition = FlagDefinition(
        key=key,
        state=raw["state"],
        variants=MappingProxyType(raw["variants"]),
        default_variant=raw.get("defaultVariant") or None,
        targeting=targeting,
        raw=MappingProxyType(raw),
        **_known(metadata),
    )
    rules = _rule_faults(definition, evaluators, inside(at, "targeting"))
    told = tuple(each for each in rules if each.weight in accepted)
    return replace(definition, warnings=told), list(rules)


def _known(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that metadata give; the others keep their defaults."""
    found = {name: metadata[name] for name in ("hash_version", "salt", "kind") if name in metadata}
    for name in ("allow", "deny"):
        pairs = (item.partition(":") for item in items(metadata.get(name)))
        found[name] = tuple((attribute, value) for attribute, _, value in pairs)
    return {
        **found,
        "owner": metadata.get("owner"),
        "expires_at": metadata.get("expiresAt"),
        "percent": metadata.get("percent"),
        "prerequisites": items(metadata.get("prerequisites")),
    }


def _rule_faults(
    flag: FlagDefinition, evaluators: Mapping[str, object], at: str
) -> tuple[Fault, ...]:
    if flag.targeting is None:
        return ()
    compiled = compile_targeting(
        flag.targeting,
        evaluators=evaluators,
        version=flag.hash_version,
        variants=flag.variants,
        at=at,
    )
    return compiled.faults
