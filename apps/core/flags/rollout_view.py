"""A rollout as people see it: where it stands, what was counted, and what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from apps.core.flags.counters import Counters, Tally
from apps.core.flags.decision import Action, Promote, decide
from apps.core.flags.looks import Look
from apps.core.flags.metric import Kind
from apps.core.flags.policy import Policy
from apps.core.flags.states import SERVING, State
from apps.core.storage.rollouts import Rollout

Json = dict[str, Any]


def summary(row: Rollout) -> Json:
    """A line of a list."""
    return {
        "id": row.id,
        "flag_key": row.flag_key,
        "state": row.state,
        "hold_reason": row.hold_reason,
        "stages": list(row.stages),
        "stage_idx": row.stage_idx,
        "percent": row.percent,
        "holdback": row.holdback,
        "epoch": row.epoch,
        "bucket_by": list(row.bucket_by),
        "salt": row.salt,
        "started_at": row.started_at,
        "stage_started_at": row.stage_started_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "version": row.version,
    }


def details(look: Look, *, now: float) -> Json:
    """Everything of one rollout, at one look."""
    action = decide(look.state, look.counters, now=now)
    found = action.evidence
    proof = found.proof.as_json()
    return {
        **summary(look.row),
        "attempt": look.state.epoch,
        "policy": dict(look.row.policy),
        "tau": None if look.row.tau is None else dict(look.row.tau),
        "arms": arms(look.state.policy, look.counters),
        "evidence": proof["metrics"],
        "combined_E": proof["combined_E"],
        "threshold": proof["threshold"],
        "srm_E": proof["srm_E"],
        "srm_threshold": look.state.policy.srm_threshold,
        "blockers": list(found.blockers) if look.state.state in SERVING else [],
        "advice": None if found.advice is None else found.advice.name.lower(),
        "vetoes": list(look.counters.health.vetoes),
        "kills": list(look.counters.health.kills),
        "nodes": [{**asdict(node), "failing": node.failing} for node in look.counters.health.nodes],
        "trigger": look.counters.health.trigger if look.state.state in SERVING else None,
        "next_action": _next(look, action),
        "last_human_action": _plain(look.row.last_human_action),
        "at": now,
    }


def arms(policy: Policy, counters: Counters) -> Json:
    """Both arms over the stages of the attempt: units, and each metric."""
    return {
        arm: {
            "units": sum(getattr(stage, f"{arm}_units") for stage in counters.stages),
            "metrics": {
                metric.name: _metric(
                    [getattr(stage.of(metric.name), arm) for stage in counters.stages],
                    scored=metric.kind is Kind.SCORE,
                )
                for metric in policy.metrics
            },
        }
        for arm in ("canary", "control")
    }


def _metric(tallies: list[Tally], *, scored: bool) -> Json:
    n = sum(tally.n for tally in tallies)
    if scored:
        total = sum(tally.total for tally in tallies)
        return {"n": n, "mean": total / n if n else None}
    bad = sum(tally.bad for tally in tallies)
    votes = sum(tally.votes for tally in tallies)
    return {"n": n, "bad": bad, "votes": votes, "share": bad / n if n else None}


def _next(look: Look, action: Action) -> Json:
    """What the controller would do now, or what a person may do."""
    if look.state.state not in SERVING:
        over = look.state.state is State.COMPLETED
        return {"action": "none" if over else "start", "reason": str(look.state.state)}
    name = type(action).__name__.lower()
    reason = getattr(action, "reason", action.evidence.row.name.lower())
    told: Json = {"action": name, "reason": reason}
    if isinstance(action, Promote):
        told["stage_idx"] = action.stage
    return told


def _plain(action: Mapping[str, Any] | None) -> Json | None:
    return None if action is None else {k: v for k, v in action.items() if k != "notes"}
