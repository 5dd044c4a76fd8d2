"""How often each flag was decided how, counted without cost on the request's path."""

from __future__ import annotations

from collections import Counter

from apps.core.flags.evaluation import Evaluation
from apps.core.telemetry import metrics


class EvaluationTally:
    """Counts evaluations in memory; `flush` hands them to the metrics once a second."""

    def __init__(self) -> None:
        self._decided: Counter[tuple[str, str, str]] = Counter()
        self._missing: Counter[str] = Counter()
        self._errors: Counter[tuple[str, str]] = Counter()
        # While no decision depends on the request all share one evaluation: one number is enough.
        self._last: Evaluation | None = None
        self._times = 0

    def add(self, evaluation: Evaluation) -> None:
        """Count one request."""
        if evaluation is not self._last:
            self._fold()
            self._last = evaluation
        self._times += 1

    def flush(self) -> None:
        """Move everything into the metrics."""
        self._fold()
        for labels, times in self._decided.items():
            metrics.flag_evaluations.of(*labels).inc(times)
        for flag, times in self._missing.items():
            metrics.flag_missing_unit.of(flag).inc(times)
        for each, times in self._errors.items():
            metrics.flag_errors.of(*each).inc(times)
        for counter in (self._decided, self._missing, self._errors):
            counter.clear()

    def _fold(self) -> None:
        if self._last is None or not self._times:
            return
        times, self._times = self._times, 0
        for key, made in self._last.decisions.items():
            self._decided[key, made.variant or "none", made.reason] += times
            if made.error is not None:
                self._errors[key, made.error] += times
        for key in self._last.missing:
            self._missing[key] += times
