"""Under which names an answer is remembered: everything that it depends on, as one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from apps.core.domain.models import AnswerRequest
from apps.orchestration.nodes.understand import normal_form
from apps.orchestration.prompts import FINGERPRINT


def answer_key(
    request: AnswerRequest, flags: str, *, models: Sequence[str], version: str, reranker: str
) -> str | None:
    """Name the answer to this very question now; None when the history has a say in it.

    Args:
        request: who asks what, and how.
        flags: digest of what was decided, arms included; two arms never share an answer.
        models: names in fallback order.
        version: of the index.
        reranker: who may have had a say in the order of the passages; empty: nobody.
    """
    if request.history:
        return None
    facts = [*_asked(request, flags), list(models), version, reranker, FINGERPRINT]
    return "answer:" + _digest(*facts)


def recall_key(request: AnswerRequest, flags: str) -> str | None:
    """The same without index, models and wording; tenant and filters still say who may see it."""
    return None if request.history else "recall:" + _digest(*_asked(request, flags))


def _asked(request: AnswerRequest, flags: str) -> list[object]:
    return [
        request.caller.tenant,
        normal_form(request.question).casefold(),
        request.mode,
        request.top_k,
        asdict(request.filters),
        request.language,
        flags,
    ]


def _digest(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
