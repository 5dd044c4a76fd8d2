"""What a run tells its listener: one Metadata, then progress and text, then one terminal event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apps.core.domain.flags import Decisions
from apps.core.domain.models import AnswerRecord, Hit
from apps.core.errors import DtRagError

Step = Literal["started", "ended", "skipped"]


@dataclass(frozen=True, slots=True)
class Metadata:
    """The first event, sent as soon as the passages are known (none are for a greeting)."""

    answer_id: str
    request_id: str
    decisions: Decisions
    hits: tuple[Hit, ...]
    index_version: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A node began, ended or was given up; `elapsed_ms` is 0 for one that began."""

    node: str
    step: Step
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of the answer; all pieces of a run joined are `record.answer`."""

    text: str


@dataclass(frozen=True, slots=True)
class Complete:
    """Terminal: the answer, already handed to the recorder."""

    record: AnswerRecord


@dataclass(frozen=True, slots=True)
class Failed:
    """Terminal: no answer; `partial` is the text that was sent before the failure."""

    error: DtRagError
    partial: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Not for listeners: `retrieve` tells the run its passages, which become the Metadata."""

    hits: tuple[Hit, ...]
    index_version: str


Event = Metadata | Progress | Data | Complete | Failed
FromNode = Progress | Data | Found
