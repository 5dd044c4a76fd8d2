"""A question as it waits for a worker: masked, its flags decided, without who asked by name.

A takeover must find the arms of the first try. Of the units of rollouts only their keyed hashes
are kept; `user_id` and `session_id` have had their say when the flags were decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from apps.core.domain.flags import FlagDecision
from apps.core.domain.models import AnswerRequest, Caller, Filters
from apps.core.flags.evaluation import Evaluation
from apps.core.text import pii

SCOPES = frozenset({"answer"})
PLAIN = ("mode", "top_k", "language", "timeout_s", "max_cost", "request_id", "locale", "endpoint")


def frozen(asked: AnswerRequest, *, pepper: bytes) -> dict[str, Any]:
    """Plain values of a question whose flags are decided."""
    evaluation = Evaluation.of(asked.decisions or {})
    hashes = {key: evaluation.unit_hash(key, pepper) for key in evaluation.armed}
    return {
        **{name: getattr(asked, name) for name in PLAIN},
        "question": pii.mask(asked.question),
        "filters": _masked(asked.filters),
        "synthetic": asked.synthetic,
        "key_id": asked.caller.key_id,
        "tenant": asked.caller.tenant,
        "version": evaluation.version,
        "decisions": {key: _decision(made) for key, made in evaluation.items()},
        "units": {key: hashed.hex() for key, hashed in hashes.items() if hashed is not None},
    }


def thawed(kept: Mapping[str, Any]) -> AnswerRequest:
    """The question again."""
    found = kept["filters"]
    listed = {name: tuple(found[name]) for name in ("doc_ids", "tags")}
    paths = tuple(map(tuple, found["canonical_in"]))
    return AnswerRequest(
        question=kept["question"],
        filters=Filters(**{**found, **listed, "canonical_in": paths}),
        caller=Caller(kept["key_id"], SCOPES, kept["tenant"]),
        synthetic=kept["synthetic"],
        decisions=Evaluation(
            kept["version"],
            {key: FlagDecision(**made) for key, made in kept["decisions"].items()},
            hashes={key: bytes.fromhex(unit) for key, unit in kept["units"].items()},
        ),
        **{name: kept[name] for name in PLAIN},
    )


def _masked(filters: Filters) -> dict[str, Any]:
    """As tags and categories of documents are stored; an id is its owner's choice and stays."""
    tags = [pii.mask(tag) for tag in filters.tags]
    paths = [[pii.mask(part) for part in path] for path in filters.canonical_in]
    return {**asdict(filters), "tags": tags, "canonical_in": paths}


def _decision(made: FlagDecision) -> dict[str, Any]:
    return {each.name: _plain(getattr(made, each.name)) for each in fields(FlagDecision)}


def _plain(value: object) -> object:
    """Without the read-only wrappers that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
