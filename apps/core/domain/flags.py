"""What a feature flag is, and what one request was told about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """A named switch, off by default in code; `requires` are flags that must be on too."""

    key: str
    description: str
    requires: tuple[str, ...] = ()

    @property
    def environment_name(self) -> str:
        """The variable that may veto or allow it."""
        return f"FEATURE_{self.key.upper()}"


@dataclass(frozen=True, slots=True)
class FlagDecision:
    """One flag for one request, frozen; `bucket` and `rollout` are set by a staged rollout."""

    on: bool
    reason: str
    layer: str
    bucket: int | None = None
    rollout: str | None = None


Decisions = Mapping[str, FlagDecision]
