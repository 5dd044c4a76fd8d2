"""The flags that one run met: noted at the nodes that they gate, counted when the run ends."""

from __future__ import annotations

from typing import Protocol

from apps.core.domain.flags import Exposed
from apps.core.domain.models import AnswerRecord
from apps.core.errors import DeadlineExceeded, DtRagError
from apps.core.flags.arms_outcome import Outcome, answered
from apps.core.flags.evaluation import Evaluation


class Arms(Protocol):
    """What `core.flags.arms.ArmRecorder` offers here."""

    def expose(
        self, evaluation: Evaluation, flag_key: str, *, node: str, request_id: str
    ) -> Exposed | None:
        """Note that a request met a flag; None when it is in none of its arms."""

    def finish(self, outcome: Outcome) -> None:
        """Take the end of a request."""


class Nobody:
    """Arms of a process that counts nothing, as on the command line."""

    def expose(
        self, evaluation: Evaluation, flag_key: str, *, node: str, request_id: str
    ) -> Exposed | None:
        """None."""
        return None

    def finish(self, outcome: Outcome) -> None:
        """Nothing."""


class Exposures:
    """What a run has met so far; a flag is met once."""

    def __init__(self, arms: Arms, evaluation: Evaluation, request_id: str) -> None:
        self._arms = arms
        self._evaluation = evaluation
        self._request_id = request_id
        self._met: dict[str, Exposed] = {}

    @property
    def met(self) -> tuple[Exposed, ...]:
        """In the order of the walk."""
        return tuple(self._met.values())

    def meet(self, flag_key: str, node: str) -> None:
        """Note that the run has reached `node`, whose flag this is, and that it applies."""
        if flag_key not in self._evaluation.armed or flag_key in self._met:
            return
        exposed = self._arms.expose(
            self._evaluation, flag_key, node=node, request_id=self._request_id
        )
        if exposed is not None:
            self._met[flag_key] = exposed

    def answered(self, record: AnswerRecord, *, has_models: bool) -> None:
        """Count a run that ended with an answer."""
        if record.exposed:
            self._arms.finish(answered(record, has_models=has_models))

    def left(self, *, at: float, elapsed_ms: float) -> None:
        """Count a run whose caller went away; `at` in UTC seconds."""
        if self._met:
            self._arms.finish(
                Outcome(self.met, self._request_id, at, duration_ms=elapsed_ms, left=True)
            )

    def failed(self, error: DtRagError | None, *, at: float, elapsed_ms: float, text: str) -> None:
        """Count a run without an answer.

        Args:
            error: why; None for one that nobody foresaw.
            at: UTC seconds.
            elapsed_ms: since the run began.
            text: what went out before.
        """
        if not self._met:
            return
        self._arms.finish(
            Outcome(
                self.met,
                self._request_id,
                at,
                error=True,
                duration_ms=elapsed_ms,
                fallback=isinstance(error, DeadlineExceeded),
                text=text,
            )
        )
