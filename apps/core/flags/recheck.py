"""Decisions of the controller, computed again from what was stored when they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.flags.metric import Kind
from apps.core.flags.proof import verify_evidence
from apps.core.flags.rollout import CANARY
from apps.core.storage import flag_audit, rollout_counts
from apps.core.storage.connections import Session
from apps.core.storage.flag_audit import AuditFilter, AuditRow
from apps.core.storage.rollout_counts import Vote
from apps.core.storage.rollouts import Rollout

MOST_ROWS = 1_000
MOST_VOTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Rechecked:
    """One decision.

    Fields:
        follows: every E follows from the counts of the row, within 1e-9.
        logged: the votes of the log, up to the last that was read, come to these counts, and the
            scores to this wealth.
    """

    row: AuditRow
    follows: bool
    logged: bool


async def decisions(s: Session, rollout: Rollout) -> list[Rechecked]:
    """What the controller decided about a rollout, the newest first."""
    wanted = AuditFilter(flag_key=rollout.flag_key, source="controller")
    rows = await flag_audit.listed(s, wanted, limit=MOST_ROWS)
    mine = [each for each in rows if (each.after or {}).get("id") == rollout.id and each.evidence]
    return [await _checked(s, rollout.id, row) for row in mine]


async def _checked(s: Session, rollout_id: str, row: AuditRow) -> Rechecked:
    evidence = dict(row.evidence or {})
    names = [each["metric"] for each in evidence["metrics"]]
    found = await rollout_counts.votes(
        s, rollout_id, int(evidence["epoch"]), metrics=names, limit=MOST_VOTES
    )
    votes = [vote for number, vote in found if number <= evidence["last_vote_id"]]
    return Rechecked(row, verify_evidence(evidence), _logged(evidence, votes))


def _logged(evidence: Mapping[str, Any], votes: Sequence[Vote]) -> bool:
    order = list(evidence["stage_idxs"])
    logs: dict[str, list[tuple[int, bool, float]]] = {}
    counted = Counter((vote.metric, vote.stage_idx, vote.arm == CANARY) for vote in votes)
    for metric in evidence["metrics"]:
        name = metric["metric"]
        if metric["definition"]["kind"] == Kind.SCORE:
            logs[name] = [
                (order.index(vote.stage_idx), vote.arm == CANARY, vote.score or 0.0)
                for vote in votes
                if vote.metric == name
            ]
            continue
        for arm, said in ((True, metric["S1"]), (False, metric["S0"])):
            if [counted[name, stage, arm] for stage in order] != list(said):
                return False
    return verify_evidence(evidence, scores=logs)
