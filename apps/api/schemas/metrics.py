"""Bodies of the metrics as JSON."""

from __future__ import annotations

from apps.api.schemas.base import Reply


class SampleReply(Reply):
    """One figure; null when it is not a finite number."""

    name: str
    labels: dict[str, str]
    value: float | None


class FamilyReply(Reply):
    """A metric and all its figures."""

    name: str
    type: str
    help: str
    samples: list[SampleReply]


class MetricsReply(Reply):
    """Everything that was counted since the start."""

    metrics: list[FamilyReply]
