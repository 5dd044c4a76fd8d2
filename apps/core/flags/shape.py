"""What a flag must look like before its rules are looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Literal, get_args

from apps.core.flags.faults import Fault, inside
from apps.core.flags.hashing import HASH_VERSIONS

State = Literal["ENABLED", "DISABLED"]
Kind = Literal["release", "ops", "experiment"]

KEY = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MAX_NAME = 64
# The published schema asks for integers that every JSON reader keeps.
MAX_SAFE = 2**53 - 1
LISTS = ("prerequisites", "allow", "deny")
AUDIENCE = re.compile(r"(user_id|session_id|api_key_id|tenant):([^,]+)")


def flag_faults(key: str, raw: Mapping[str, object], at: str) -> list[Fault]:
    """Everything that makes a flag unusable whatever its rules say."""
    faults = []
    if not KEY.fullmatch(key):
        problem = f"a key is 1 to {MAX_NAME} letters, digits, or one of _.:-"
        faults.append(Fault(at, problem, "shape"))
    variants = raw.get("variants")
    if isinstance(variants, dict):
        faults += _variant_faults(variants, inside(at, "variants"))
    faults += [Fault(inside(at, name), problem, "shape") for name, problem in _body(raw)]
    metadata = raw.get("metadata", {})
    return faults + metadata_faults(metadata, inside(at, "metadata"), own=True)


def metadata_faults(metadata: object, at: str, *, own: bool) -> list[Fault]:
    """Metadata are plain values; `own` are a flag's, of which we know some."""
    if not isinstance(metadata, dict):
        return [Fault(at, "must be an object", "shape")]
    faults = [
        Fault(inside(at, name), "must be a text, a number or a boolean", "shape")
        for name, value in metadata.items()
        if not isinstance(value, str | int | float) and not (own and name in LISTS)
    ]
    if own:
        known = ((name, *rule) for name, rule in KNOWN.items() if name in metadata)
        faults += [
            Fault(inside(at, name), problem, "shape")
            for name, fits, problem in known
            if not fits(metadata[name])
        ]
    return faults


def items(value: object) -> tuple[str, ...]:
    """A list of texts, or one text with commas, as a tuple without empty entries."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list):
        return ()
    return tuple(word for word in (str(item).strip() for item in given) if word)


def _body(raw: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    variants, default = raw.get("variants"), raw.get("defaultVariant")
    if raw.get("state") not in get_args(State):
        yield "state", "must be ENABLED or DISABLED"
    if not isinstance(variants, dict) or not variants:
        yield "variants", "must be an object with variants"
    elif default not in (None, "") and not (isinstance(default, str) and default in variants):
        yield "defaultVariant", "must be one of the variants"
    if not isinstance(raw.get("targeting"), dict | None):
        yield "targeting", "must be an object"


def _variant_faults(variants: Mapping[str, object], at: str) -> list[Fault]:
    faults = []
    for name, value in variants.items():
        if _kind(value) is None:
            problem = "must be a boolean, a text, a safe number or an object"
            faults.append(Fault(inside(at, name), problem, "shape"))
        if not 1 <= len(name) <= MAX_NAME:
            problem = f"a variant's name has 1 to {MAX_NAME} characters"
            faults.append(Fault(inside(at, name), problem, "shape"))
    if len({_kind(value) for value in variants.values()} - {None}) > 1:
        faults.append(Fault(at, "all variants must be of one kind", "shape"))
    return faults


def _kind(value: object) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float) or (isinstance(value, int) and abs(value) <= MAX_SAFE):
        return "number"
    if isinstance(value, str):
        return "text"
    return "object" if isinstance(value, dict) else None


def _is_list(value: object, form: re.Pattern[str]) -> bool:
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        return False
    return isinstance(value, str | list) and all(form.fullmatch(item) for item in items(value))


def _is_date(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_short(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME


def _is_percent(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100


WHO = "must be pairs as tenant:pilot, of user_id, session_id, api_key_id or tenant"
KNOWN: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "owner": (lambda value: isinstance(value, str), "must be a text"),
    "expiresAt": (_is_date, "must be a date as 2027-03-31"),
    "kind": (lambda value: value in get_args(Kind), "must be release, ops or experiment"),
    "hash_version": (lambda value: value in HASH_VERSIONS, "must be v2 or v3"),
    "salt": (_is_short, f"must be a text of at most {MAX_NAME} characters"),
    "percent": (_is_percent, "must be a number from 0 to 100"),
    "prerequisites": (lambda value: _is_list(value, KEY), "must be keys of flags"),
    "allow": (lambda value: _is_list(value, AUDIENCE), WHO),
    "deny": (lambda value: _is_list(value, AUDIENCE), WHO),
}
