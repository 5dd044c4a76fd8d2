"""What people ask of a flag, applied to its definition: definition in, definition out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.errors import BusinessFailure
from apps.core.flags.definition import FlagDefinition
from apps.core.flags.ladder import SWITCH

Raw = Mapping[str, Any]

MEMBERS = ("state", "variants", "defaultVariant", "targeting", "metadata")
BARE: Raw = {"state": "ENABLED", "variants": dict(SWITCH)}
"""What a flag is that only the code declares."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a definition; what is not given stays.

    on: the default variant of everybody; takes a share that was set by hand away.
    percent: a share set by hand, 0-100.
    auto: SQL gives up its opinion, and the environment or the code decides again.
    definition: replaces the whole.
    members: replace those of the definition by name; None takes one away.
    metadata: the same inside `metadata`.
    """

    on: bool | None = None
    percent: float | None = None
    auto: bool = False
    definition: Raw | None = None
    members: Raw = field(default_factory=dict)
    metadata: Raw = field(default_factory=dict)

    @property
    def switches_on(self) -> bool:
        """Whether it asks in so many words for a flag that is on."""
        return self.on is True or bool(self.percent)

    @property
    def switches(self) -> bool:
        """Whether it decides who gets the flag, rather than how the flag is made."""
        return self.on is not None or self.percent is not None or self.auto

    def applied(self, before: Raw | None) -> Raw | None:
        """The definition after the change; None when nothing is left to say.

        Raises:
            BusinessFailure: the flag's variants are not on and off.
        """
        raw = dict(self.definition if self.definition is not None else before or BARE)
        raw = _replaced(raw, self.members)
        raw = _with_metadata(raw, self.metadata)
        if self.on is not None:
            raw = _switched(_with_metadata(raw, {"percent": None}), to=self.on)
        if self.percent is not None:
            raw = _with_metadata(_switched(raw, to=self.percent == 100), {"percent": self.percent})
            raw["state"] = "ENABLED" if self.percent else raw.get("state")
        if self.auto:
            raw = _replaced(_with_metadata(raw, {"percent": None}), {"defaultVariant": None})
            return None if raw == BARE else raw
        return raw


def may_be_on(flag: FlagDefinition | None) -> bool:
    """Whether the definition by itself gives somebody the flag who is in no list or rule."""
    if flag is None or flag.state == "DISABLED":
        return False
    default = flag.variants.get(flag.default_variant or "")
    return default is True or bool(flag.percent)


def _switched(raw: dict[str, Any], *, to: bool) -> dict[str, Any]:
    variants = raw.get("variants")
    known = variants if isinstance(variants, dict) else {}
    word = "on" if to else "off"
    names = [word, *sorted(known)]
    name = next((each for each in names if known.get(each) is to), None)
    if name is None:
        raise BusinessFailure(f"The flag has no variant that is {word}; change its definition.")
    state = "ENABLED" if to else raw.get("state")
    return {**raw, "defaultVariant": name, "state": state}


def _with_metadata(raw: dict[str, Any], changes: Raw) -> dict[str, Any]:
    if not changes:
        return raw
    before = raw.get("metadata")
    metadata = _replaced(dict(before) if isinstance(before, dict) else {}, changes)
    return _replaced(raw, {"metadata": metadata or None})


def _replaced(raw: dict[str, Any], changes: Raw) -> dict[str, Any]:
    merged = {**raw, **changes}
    gone = {name for name, value in changes.items() if value is None}
    return {name: value for name, value in merged.items() if name not in gone}
