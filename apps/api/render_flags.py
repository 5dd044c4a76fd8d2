"""Flags as the JSON that the contract promises."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from apps.api.render import Json, timestamp
from apps.core.domain.flags import FlagDecision

if TYPE_CHECKING:
    from apps.core.flags.acks import Acked
    from apps.core.flags.views import FlagView
    from apps.core.storage.flag_audit import AuditRow

NOT_WAITED: Json = dict.fromkeys(("acked", "expected", "elapsed_ms", "switched", "missing"))


def flag(view: FlagView) -> Json:
    """One flag of the list."""
    rollout = view.rollout
    return {
        "key": view.key,
        "description": view.description,
        "state": view.state,
        "default_variant": view.default_variant,
        "percent": view.percent,
        "killed": view.killed,
        "killed_by": view.killed_by,
        "kill_files": [asdict(each) for each in view.kill_files],
        "env": {"name": view.variable, "value": view.environment, "hosts": view.vetoed_by},
        "rollout": None
        if rollout is None
        else {
            "id": rollout.id,
            "state": rollout.state,
            "percent": rollout.percent,
            "stage_idx": rollout.stage_idx,
            "epoch": rollout.epoch,
        },
        "hash_version": view.hash_version,
        "kind": view.kind,
        "owner": view.owner,
        "expires_at": view.expires_at,
        "stale": view.stale,
        "prerequisites": view.prerequisites,
        "decided_by": view.decided_by,
        "because": view.because,
        "version": view.version,
    }


def details(view: FlagView) -> Json:
    """One flag with its definition."""
    return {**flag(view), "definition": view.definition}


def waited(found: Acked | None) -> Json:
    """Which workers have switched."""
    return NOT_WAITED if found is None else found.as_json()


def decided(made: FlagDecision) -> Json:
    """One flag for a caller."""
    return {
        "value": made.value,
        "variant": made.variant,
        "reason": made.reason,
        "layer": made.layer,
    }


def audit_row(row: AuditRow) -> Json:
    """One effective change."""
    return {
        "id": row.id,
        "at": timestamp(row.at),
        "actor": row.actor,
        "source": row.source,
        "flag_key": row.flag_key,
        "before": row.before,
        "after": row.after,
        "reason": row.reason,
        "evidence": row.evidence,
        "prev_hash": row.prev_hash,
        "hash": row.hash,
    }
