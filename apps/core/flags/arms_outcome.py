"""How a request ended, and what of it counts as bad in the arms that it met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apps.core.domain.flags import Exposed
from apps.core.domain.models import AnswerRecord, SearchResult
from apps.core.flags.searching import FLAG_OF_LEG
from apps.core.text import pii

QUALITY, FEEDBACK, NODE_ERROR = "quality", "feedback", "node_error"
BREAKING = frozenset({"error", NODE_ERROR})
"""Metrics that make a request a bad one in the last moments."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a request that met flags in arms; None is not known.

    duration_ms, tokens: compared with the limits that the stage froze.
    fallback: answered by a later link of the chain, or out of time.
    quality: how well the passages support the answer, 0..1.
    unsupported: no passage supports the answer.
    skipped: keys of the flags whose node or leg failed or was skipped.
    text: what went out.
    """

    exposed: tuple[Exposed, ...]
    request_id: str
    at: float
    error: bool = False
    duration_ms: float | None = None
    tokens: int | None = None
    fallback: bool | None = None
    quality: float | None = None
    unsupported: bool | None = None
    skipped: frozenset[str] | None = None
    text: str = ""

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
        error=not record.answer and not listed,
        duration_ms=record.timings_ms["total"],
        tokens=usage.input_tokens + usage.output_tokens,
        fallback=by_model and record.served_by != "primary",
        quality=min(1.0, max(0.0, record.confidence)) if judged else None,
        unsupported=lacking if judged else None,
        skipped=_flags(record.degraded),
        text=record.answer,
    )


def searched(
    exposed: tuple[Exposed, ...], request_id: str, at: float, *, result: SearchResult | None
) -> Outcome:
    """The outcome of a search without an answer; no result is an error.

    Its time is not compared: the limit of a stage is one of answers.
    """
    if result is None:
        return Outcome(exposed, request_id, at, error=True)
    lost = bool(result.degraded)
    return Outcome(exposed, request_id, at, fallback=lost, skipped=_flags(result.degraded))


def findings(outcome: Outcome, flag_key: str, tau: Mapping[str, float]) -> dict[str, bool]:
    """What is known of a request by metric, and whether it was bad.

    Args:
        outcome: of the request.
        flag_key: whose node counts as failed.
        tau: limits of the stage, `slow` in milliseconds and `cost` in tokens.
    """
    known: dict[str, bool | None] = {
        "error": outcome.error,
        "slow": _above(outcome.duration_ms, tau.get("slow")),
        "fallback": outcome.fallback,
        "node_error": None if outcome.skipped is None else flag_key in outcome.skipped,
        "cost": _above(outcome.tokens, tau.get("cost")),
        "unsupported": outcome.unsupported,
        "pii_miss": outcome.leaks,
    }
    return {metric: bad for metric, bad in known.items() if bad is not None}


def _above(value: float | None, limit: float | None) -> bool | None:
    return None if value is None or limit is None else value > limit


def _flags(degraded: tuple[str, ...]) -> frozenset[str]:
    return frozenset(FLAG_OF_LEG.get(name, name) for name in degraded)
