"""The OpenFeature provider: our flags for other people's Python, over the same snapshot.

Needs the extra `openfeature`. Register it with `set_provider_and_wait` when a worker starts,
after the fork: with `set_provider` every evaluation returns defaults until a thread is done.
Nothing here waits, since the SDK's asynchronous methods call the synchronous ones on the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagMetadata, FlagResolutionDetails, FlagValueType
from openfeature.provider import AbstractProvider, Metadata

from apps.core.domain.flags import FlagDecision
from apps.core.domain.ports import Clock
from apps.core.flags.context import FlagContext, foreign_context
from apps.core.flags.snapshot import Snapshot

V = TypeVar("V")
Objects = Sequence[FlagValueType] | Mapping[str, FlagValueType]
SHOWN = ("layer", "rollout", "epoch", "stage", "arm")


class SqlFlagProvider(AbstractProvider):
    """Resolves flags from the snapshot that the worker holds at that moment."""

    def __init__(self, snapshot: Callable[[], Snapshot | None], clock: Clock) -> None:
        """Resolve flags.

        Args:
            snapshot: the current one, None before the first was read.
            clock: the time that rules see.
        """
        super().__init__()
        self._snapshot = snapshot
        self._clock = clock

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="dt-rag")

    def changed(self, keys: Sequence[str]) -> None:
        """Tell listeners which flags changed, if any; they run in a thread of the SDK."""
        if keys:
            details = ProviderEventDetails(flags_changed=list(keys))
            self.emit_provider_configuration_changed(details)

    def stale(self, message: str) -> None:
        """Tell listeners that the truth cannot be reached; the last known values stay."""
        self.emit_provider_stale(ProviderEventDetails(message=message))

    def ready(self) -> None:
        """Tell listeners that the truth is confirmed again."""
        self.emit_provider_ready(ProviderEventDetails())

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """A boolean."""
        return self._resolve(flag_key, default_value, evaluation_context, _boolean)

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """A text."""
        return self._resolve(flag_key, default_value, evaluation_context, _text)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        """A whole number."""
        return self._resolve(flag_key, default_value, evaluation_context, _integer)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """A number."""
        return self._resolve(flag_key, default_value, evaluation_context, _float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Objects,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Objects]:
        """An object."""
        return self._resolve(flag_key, default_value, evaluation_context, _object)

    def _resolve(
        self,
        key: str,
        default: V,
        context: EvaluationContext | None,
        read: Callable[[object], V | None],
    ) -> FlagResolutionDetails[V]:
        snapshot = self._snapshot()
        if snapshot is None:
            return _failed(default, ErrorCode.PROVIDER_NOT_READY, "No snapshot was read yet.")
        metadata = snapshot.metadata(key)
        made = snapshot.evaluate_all(_context(context, int(self._clock.now()))).get(key)
        if made is None:
            return _failed(default, ErrorCode.FLAG_NOT_FOUND, f"There is no flag {key!r}.")
        if made.error is not None:
            return _failed(default, ErrorCode(made.error), f"{key} could not be evaluated.")
        if made.value is None:
            return _details(made, default, metadata)
        value = read(made.value)
        if value is None:
            kind = type(made.value).__name__
            return _failed(default, ErrorCode.TYPE_MISMATCH, f"{key} has values of kind {kind}.")
        return _details(made, value, metadata)


def _details(
    made: FlagDecision, value: V, metadata: Mapping[str, str | int | float | bool]
) -> FlagResolutionDetails[V]:
    facts = {name: getattr(made, name) for name in SHOWN}
    shown: FlagMetadata = {name: fact for name, fact in facts.items() if fact is not None}
    return FlagResolutionDetails(
        value, reason=made.reason, variant=made.variant, flag_metadata={**metadata, **shown}
    )


def _failed(default: V, code: ErrorCode, message: str) -> FlagResolutionDetails[V]:
    return FlagResolutionDetails(default, error_code=code, error_message=message, reason="ERROR")


def _context(given: EvaluationContext | None, timestamp: int) -> FlagContext:
    if given is None:
        return FlagContext(timestamp=timestamp)
    attributes = {name: _plain(value) for name, value in given.attributes.items()}
    return foreign_context(given.targeting_key, attributes, timestamp=timestamp)


def _plain(value: object) -> object:
    """An attribute as JSON has it: a time as its ISO text."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: object) -> float | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if whole and isinstance(value, int | float) else None


def _object(value: object) -> Objects | None:
    return value if isinstance(value, Mapping) else None
