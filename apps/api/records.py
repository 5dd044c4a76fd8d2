"""One record a request: a line in the log and a count in the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """What is said of a request; `route` is the template, never the path."""

    request_id: str
    method: str
    route: str
    status: int
    duration_ms: float
    key_id: str | None
    cached: bool | None


class Records:
    """Writes the records."""

    def finished(self, request: Finished) -> None:
        """A request was answered."""

    def failed(self, request_id: str, error: BaseException) -> None:
        """A request met an error that nobody foresaw; its traceback goes to the log only."""
