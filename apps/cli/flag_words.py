"""Flags in an operator's words: `debate_mode=12.5%` in, one coloured word out."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from apps.core.errors import Unprocessable
from apps.core.flags.catalogue import key_of
from apps.core.flags.edits import Edit

if TYPE_CHECKING:
    from apps.core.flags.admin import Wish
    from apps.core.flags.views import FlagView

WORDS = {"on": True, "true": True, "yes": True, "1": True}
WORDS |= {"off": False, "false": False, "no": False, "0": False}
COLOURS = {"on": "green", "off": "dim", "killed": "red", "vetoed": "red", "disabled": "red"}
PERCENT = 100


def named(keys: list[str] | None, *, every: bool) -> list[str]:
    """The keys of the flags that were named; none for all of them.

    Raises:
        Unprocessable: neither flags nor all, or both.
    """
    if every == bool(keys):
        raise Unprocessable("Name flags, or give --all.")
    return [key_of(key) for key in keys or ()]


def wish_of(reason: str) -> Wish:
    """A person at this command line."""
    from apps.core.flags.admin import Wish  # noqa: PLC0415 - SQLAlchemy costs a second

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number without a name
        user = "unknown"
    return Wish(f"cli:{user}", "cli", reason)


def edit_of(change: str) -> tuple[str, Edit]:
    """Read `FLAG=on`, `off`, `auto` or a share such as `12.5%`.

    Raises:
        Unprocessable: it is none of these.
    """
    key, equals, word = (part.strip() for part in change.partition("="))
    word = word.lower()
    if key and equals:
        if word == "auto":
            return key, Edit(auto=True)
        if word in WORDS:
            return key, Edit(on=WORDS[word])
        percent = _percent(word)
        if percent is not None:
            return key, Edit(percent=percent)
    raise Unprocessable(f"{change!r} is not FLAG=on, off, auto or a share such as 12.5%.")


def attributes(given: Iterable[str]) -> dict[str, str]:
    """Read `NAME=VALUE`, e.g. `tenant=pilot`.

    Raises:
        Unprocessable: it is not of this form.
    """
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise Unprocessable(f"{each!r} is not NAME=VALUE.")
        found[name] = value
    return found


def _percent(word: str) -> float | None:
    if not word.endswith("%"):
        return None
    try:
        value = float(word[:-1])
    except ValueError:
        return None
    return value if 0 <= value <= PERCENT else None


def coloured(view: FlagView) -> Text:
    """`state_of` in its colour."""
    word = state_of(view)
    return Text(word, COLOURS.get(word.split()[0], "yellow"))


def state_of(view: FlagView) -> str:
    """What decides the flag for somebody without rules of their own, in a word or two."""
    if view.killed:
        return "killed"
    if view.kill_files:
        return f"killed on {', '.join(each.host for each in view.kill_files)}"
    if view.vetoed_by:
        return "vetoed"
    if view.state == "DISABLED":
        return "disabled"
    share = view.rollout.percent if view.rollout else view.percent
    if share is not None and (view.rollout or 0 < share < PERCENT):
        return f"{share:g} %"
    return _default(view)


def _default(view: FlagView) -> str:
    if view.default_variant is None:
        allowed = view.definition is None and view.environment == "true"
        return "on" if allowed else "off"
    variants = (view.definition or {}).get("variants", {})
    value = variants.get(view.default_variant)
    return ("on" if value else "off") if isinstance(value, bool) else view.default_variant


def record(view: FlagView) -> dict[str, object]:
    """One flag for a program."""
    rollout = view.rollout
    return {
        "key": view.key,
        "now": state_of(view),
        "state": view.state,
        "default_variant": view.default_variant,
        "percent": view.percent,
        "killed": view.killed,
        "killed_by": view.killed_by,
        "kill_files": [asdict(each) for each in view.kill_files],
        "env": {"name": view.variable, "value": view.environment, "hosts": list(view.vetoed_by)},
        "rollout": rollout
        and {"id": rollout.id, "state": rollout.state, "percent": rollout.percent},
        "hash_version": view.hash_version,
        "kind": view.kind,
        "owner": view.owner,
        "expires_at": view.expires_at,
        "stale": view.stale,
        "decided_by": view.decided_by,
        "because": view.because,
        "version": view.version,
    }
