"""How a request ended, and what of it counts as bad in the arms that it met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from apps.core.domain.flags import Exposed
from apps.core.domain.models import AnswerRecord, SearchResult
from apps.core.flags.searching import FLAG_OF_LEG
from apps.core.flags.spent import COST, SLOW, SLOW_SEARCH
from apps.core.text import pii

QUALITY, FEEDBACK, NODE_ERROR = "quality", "feedback", "node_error"
BREAKING = frozenset({"error", NODE_ERROR})
"""Metrics that make a request a bad one in the last moments."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a request that met flags in arms; None is not known.

    route: what was asked for; each has its own limit of time.
    duration_ms, tokens: compared with the limits that the stage froze.
    fallback: answered by a later link of the chain, or out of time.
    quality: how well the passages support the answer, 0..1.
    unsupported: no passage supports the answer.
    skipped: keys of the flags whose node or leg failed or was skipped.
    text: what went out.
    left: the caller went away before the end. Its duration is the shortest that it can have been:
        of a request that was over the limit then, it is known that it was slow, and of others
        nothing. To forget them all would flatter an arm that is too slow to wait for.
    """

    exposed: tuple[Exposed, ...]
    request_id: str
    at: float
    route: Literal["answer", "search"] = "answer"
    error: bool = False
    duration_ms: float | None = None
    tokens: int | None = None
    fallback: bool | None = None
    quality: float | None = None
    unsupported: bool | None = None
    skipped: frozenset[str] | None = None
    text: str = ""
    left: bool = False

    @property
    def spent(self) -> dict[str, float]:
        """What it took, by the limit that it is compared with."""
        slow = SLOW if self.route == "answer" else SLOW_SEARCH
        found = {slow: self.duration_ms, COST: self.tokens}
        return {limit: value for limit, value in found.items() if value is not None}

    @property
    def leaks(self) -> bool:
        """Whether personal data went out; linear in the text, so ask behind the response."""
        return bool(pii.mask_counted(self.text)[1])


def answered(record: AnswerRecord, *, has_models: bool) -> Outcome:
    """The outcome of an answer.

    Args:
        record: the answer with what it met.
        has_models: whether a model is the first link of the chain; else quoting is.
    """
    listed = record.mode == "search"
    judged = not listed and record.reason != "smalltalk"
    by_model = has_models and not listed and not record.abstained
    lacking = record.reason == "no_evidence" or not (record.citations or record.abstained)
    usage = record.usage
    return Outcome(
        record.exposed,
        record.request_id,
        record.created_at,
        route="search" if listed else "answer",
        error=not record.answer and not listed,
        duration_ms=record.timings_ms["total"],
        tokens=None if listed else usage.input_tokens + usage.output_tokens,
        fallback=by_model and record.served_by != "primary",
        quality=min(1.0, max(0.0, record.confidence)) if judged else None,
        unsupported=lacking if judged else None,
        skipped=_flags(record.degraded),
        text=record.answer,
    )


def searched(
    exposed: tuple[Exposed, ...],
    request_id: str,
    at: float,
    *,
    duration_ms: float,
    result: SearchResult | None,
) -> Outcome:
    """The outcome of a search without an answer; no result is an error."""
    made = Outcome(exposed, request_id, at, route="search", duration_ms=duration_ms)
    if result is None:
        return replace(made, error=True)
    return replace(made, fallback=bool(result.degraded), skipped=_flags(result.degraded))


def findings(outcome: Outcome, flag_key: str, tau: Mapping[str, float]) -> dict[str, bool]:
    """What is known of a request by metric, and whether it was bad.

    Args:
        outcome: of the request.
        flag_key: whose node counts as failed.
        tau: limits of the stage, see `spent.LIMITS`.
    """
    above = {limit: value > tau[limit] for limit, value in outcome.spent.items() if limit in tau}
    slow = above.get(SLOW, above.get(SLOW_SEARCH))
    if outcome.left:
        return {"slow": True} if slow else {}
    known: dict[str, bool | None] = {
        "error": outcome.error,
        "slow": slow,
        "fallback": outcome.fallback,
        "node_error": None if outcome.skipped is None else flag_key in outcome.skipped,
        "cost": above.get(COST),
        "unsupported": outcome.unsupported,
        "pii_miss": outcome.leaks,
    }
    return {metric: bad for metric, bad in known.items() if bad is not None}


def _flags(degraded: tuple[str, ...]) -> frozenset[str]:
    return frozenset(FLAG_OF_LEG.get(name, name) for name in degraded)
