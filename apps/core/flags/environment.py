"""Flags from the environment alone: the layers of the ladder that need no database.

`FEATURE_X=false` is a veto, `true` turns the flag on, `auto` or nothing leaves it to the code,
which is off. A flag whose prerequisite is not on stays off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from apps.core.domain.flags import Decisions, Flag, FlagDecision
from apps.core.domain.models import AnswerRequest
from apps.core.errors import SystemFailure
from apps.core.settings import Settings, TriState

VETO = FlagDecision(on=False, reason="DISABLED", layer="ENV_VETO")
PREREQUISITE = FlagDecision(on=False, reason="DEFAULT", layer="PREREQUISITE")
ENV = FlagDecision(on=True, reason="STATIC", layer="ENV")
CODE = FlagDecision(on=False, reason="DEFAULT", layer="CODE")


class EnvironmentFlags:
    """Implements FlagDecider; the environment does not change while a process runs."""

    def __init__(self, settings: Settings, flags: Sequence[Flag]) -> None:
        by_key = {flag.key: flag for flag in flags}
        self._decisions: Decisions = MappingProxyType(
            {key: _decide(key, by_key, settings.features, above=()) for key in by_key}
        )

    def evaluate_all(self, request: AnswerRequest | None) -> Decisions:
        """All flags by key, the same for every request."""
        return self._decisions


def _decide(
    key: str, flags: Mapping[str, Flag], features: Mapping[str, TriState], *, above: tuple[str, ...]
) -> FlagDecision:
    if key in above:
        raise SystemFailure(f"The flags {sorted(above)!r} require each other in a circle.")
    value = features.get(key, "auto")
    if value == "false":
        return VETO
    for needed in flags[key].requires:
        known = needed in flags
        if not known or not _decide(needed, flags, features, above=(*above, key)).on:
            return PREREQUISITE
    return ENV if value == "true" else CODE
