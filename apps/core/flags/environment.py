"""Flags from the environment alone: the layers of the ladder that need no database.

`FEATURE_X=false` is a veto, `true` turns the flag on, `auto` or nothing leaves it to the code,
which is off. A flag whose prerequisite is not on stays off.
"""

from __future__ import annotations

from collections.abc import Sequence

from apps.core.domain.flags import Decisions, Flag
from apps.core.domain.models import AnswerRequest
from apps.core.errors import PrerequisiteCycle, SystemFailure
from apps.core.flags.catalogue import environment
from apps.core.flags.context import FlagContext
from apps.core.flags.snapshot import FlagWorld, Snapshot
from apps.core.settings import Settings


class EnvironmentFlags:
    """Implements FlagDecider; the environment does not change while a process runs."""

    def __init__(self, settings: Settings, flags: Sequence[Flag]) -> None:
        said = environment(settings)
        world = FlagWorld(flags=tuple(flags), environment=said.words, names=said.names)
        try:
            snapshot = Snapshot(world)
        except PrerequisiteCycle as error:
            # Only a mistake in the code can do that here, no operator.
            raise SystemFailure(error.detail) from error
        self._decisions: Decisions = snapshot.evaluate_all(FlagContext())

    def evaluate_all(self, request: AnswerRequest | None) -> Decisions:
        """All flags by key, the same for every request."""
        return self._decisions
