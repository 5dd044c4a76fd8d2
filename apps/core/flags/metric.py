"""A metric of a rollout: what counts as bad, and what it may do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from apps.core.errors import Unprocessable
from apps.core.flags.evidence import HARMLESS


class Role(StrEnum):
    """What a metric may do to a rollout."""

    GUARDRAIL = "guardrail"
    """Compared with the control: rolls back, and must be proven harmless before a promotion."""
    SIGNAL = "signal"
    """Compared with the control: may only hold."""
    ABSOLUTE = "absolute"
    """The control says nothing about it: only fixed limits speak."""


class Kind(StrEnum):
    """What is recorded of a unit."""

    EVENT = "event"
    """Something bad happened or not."""
    SCORE = "score"
    """A number in [0, 1], lower is worse."""


class Form(StrEnum):
    """A way in which a metric gives evidence for a rollback."""

    VOTES = "votes"
    SCORE = "score"
    CAP = "cap"


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is watched.

    Attributes:
        weight: share of the evidence relative to the other metrics; fixed at the start.
        tolerated: relative risk that is accepted (ρ₀), at least 1.
        margin: relative risk that promotion must exclude (ρ).
        limit: highest rate of the canary; must be proven before a promotion.
        negligible: rate below which a relative risk is of no matter; proving it is enough to
            promote, so that a metric that never turns bad does not stop a good release.
        fatal: bad events in `Policy.breaker_window_s` that roll back at once; None is never.
    """

    name: str
    role: Role = Role.GUARDRAIL
    kind: Kind = Kind.EVENT
    weight: float = 1.0
    tolerated: float = 1.0
    margin: float = 2.0
    limit: float | None = None
    negligible: float | None = None
    fatal: int | None = None

    def __post_init__(self) -> None:
        for wrong, sentence in _faults(self):
            if wrong:
                raise Unprocessable(sentence)

    @property
    def relative(self) -> bool:
        """Whether the control is asked."""
        return self.role is not Role.ABSOLUTE

    @property
    def forms(self) -> tuple[Form, ...]:
        """How it may roll back."""
        compared = (Form.SCORE,) if self.kind is Kind.SCORE else (Form.VOTES,)
        capped = () if self.limit is None else (Form.CAP,)
        return (compared if self.role is Role.GUARDRAIL else ()) + capped


@dataclass(frozen=True, slots=True)
class Member:
    """One term of the combined evidence, with its weight v_k."""

    metric: Metric
    form: Form
    weight: float


def default_metrics() -> tuple[Metric, ...]:
    """The metrics that every answer has.

    `node_error` is absolute because the gated node never runs in the control. A feature that is
    meant to spend more needs a `tolerated` above 1 on `cost`.
    """
    return (
        Metric("error", negligible=0.001),
        Metric("slow"),
        Metric("fallback", negligible=0.005),
        Metric("cost"),
        Metric("quality", kind=Kind.SCORE),
        Metric("unsupported", negligible=0.005),
        Metric("node_error", role=Role.ABSOLUTE, limit=0.02),
        Metric("feedback", role=Role.SIGNAL),
        Metric("pii_miss", role=Role.ABSOLUTE, fatal=1),
    )


def _faults(metric: Metric) -> tuple[tuple[bool, str], ...]:
    name, score = metric.name, metric.kind is Kind.SCORE
    silent = metric.role is Role.ABSOLUTE and metric.limit is None and metric.fatal is None
    # Every bet of E⁻ must lie below the margin, or it would be evidence for the wrong side.
    lowest_margin = max(HARMLESS) * metric.tolerated
    return (
        (not name.isidentifier(), f"{name!r} is no name for a metric."),
        (not metric.weight > 0, f"{name}: weight must be above 0."),
        (not metric.tolerated >= 1, f"{name}: tolerated must be at least 1."),
        (not metric.margin > lowest_margin, f"{name}: margin must be above {lowest_margin:g}."),
        (not _is_rate(metric.limit), f"{name}: limit must be between 0 and 0.45."),
        (not _is_rate(metric.negligible), f"{name}: negligible must be between 0 and 0.45."),
        (metric.fatal is not None and metric.fatal < 1, f"{name}: fatal must be at least 1."),
        (silent, f"{name}: an absolute metric needs limit or fatal."),
        (
            score and (metric.role is not Role.GUARDRAIL or metric.tolerated != 1),
            f"{name}: a score can only be a guardrail that tolerates nothing.",
        ),
        (
            score and (metric.limit, metric.negligible, metric.fatal) != (None, None, None),
            f"{name}: a score has no limit, negligible or fatal.",
        ),
    )


def _is_rate(value: float | None) -> bool:
    # Above 0.45 the mixture of `log_cap_rollback`, which ends at 0.9, has no room to bet.
    return value is None or 0 < value <= 0.45
