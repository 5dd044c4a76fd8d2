"""The vote log of an attempt, folded into counts and wealth as far as it was read.

Votes have their ids in the order of their commits, so whoever has read up to an id has read all
below it. The fold is kept in `flag_evidence`, and the next look reads only what is new; read from
the first vote again, it comes to the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from apps.core.flags import evidence as e
from apps.core.flags.evidence import ScoreState
from apps.core.flags.metric import Kind, Metric
from apps.core.flags.policy import Policy
from apps.core.flags.rollout import CANARY
from apps.core.storage import rollout_counts
from apps.core.storage.connections import Session
from apps.core.storage.rollout_counts import Vote
from apps.core.storage.rollout_evidence import Evidence

PAGE_ROWS = 10_000
Log = Sequence[tuple[int, Vote]]


@dataclass(frozen=True, slots=True)
class EventFold:
    """Votes of one event metric: stage → (canary, control)."""

    stages: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def after(self, votes: Sequence[Vote], _policy: Policy) -> EventFold:
        """Count more."""
        stages = dict(self.stages)
        for vote in votes:
            canary, control = stages.get(vote.stage_idx, (0, 0))
            mine = vote.arm == CANARY
            stages[vote.stage_idx] = (canary + mine, control + (not mine))
        return EventFold(stages)

    def as_json(self) -> dict[str, object]:
        """For the row of the evidence."""
        return {str(stage): list(pair) for stage, pair in self.stages.items()}


@dataclass(frozen=True, slots=True)
class ScoreFold:
    """Wealth of one score metric over the epoch, and stage → (number, sum) of its scores."""

    points: tuple[float, ...] = (0.0,) * len(e.STAKES)
    stages: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def after(self, votes: Sequence[Vote], policy: Policy) -> ScoreFold:
        """Bet on more scores, in their order."""
        points, stages = np.array(self.points), dict(self.stages)
        for stage, group in itertools.groupby(votes, key=lambda vote: vote.stage_idx):
            run = list(group)
            n, total = stages.get(stage, (0.0, 0.0))
            state = ScoreState(points, np.array(n), np.array(total)).after(
                [vote.arm == CANARY for vote in run],
                [vote.score or 0.0 for vote in run],
                policy.share(stage),
            )
            points, stages[stage] = state.points, (float(state.n), float(state.total))
        return ScoreFold(tuple(map(float, points)), stages)

    def as_json(self) -> dict[str, object]:
        """For the row of the evidence."""
        return {str(stage): list(pair) for stage, pair in self.stages.items()}


@dataclass(frozen=True, slots=True)
class Fold:
    """Everything read of the log of one attempt; `look` counts the folds that were kept."""

    last_id: int = 0
    look: int = 0
    events: Mapping[str, EventFold] = field(default_factory=dict)
    scores: Mapping[str, ScoreFold] = field(default_factory=dict)

    def votes(self, metric: str, stage: int) -> tuple[int, int]:
        """Bad votes of the canary and of the control."""
        return self.events.get(metric, EventFold()).stages.get(stage, (0, 0))

    def score_states(self) -> dict[str, ScoreState]:
        """What the proof needs of each score."""
        return {
            name: ScoreState(np.array(fold.points), np.array(0.0), np.array(0.0))
            for name, fold in self.scores.items()
        }


async def follow(s: Session, fold: Fold, *, key: tuple[str, int], policy: Policy) -> Fold:
    """Read what was voted since; `key` is rollout and attempt."""
    names = [metric.name for metric in policy.metrics]
    while log := await rollout_counts.votes(
        s, *key, metrics=names, after_id=fold.last_id, limit=PAGE_ROWS
    ):
        fold = after(fold, log, policy)
    return fold


def after(fold: Fold, log: Log, policy: Policy) -> Fold:
    """Fold a page of the log, in the order of its ids."""
    by_metric: dict[str, list[Vote]] = {}
    for _, vote in log:
        by_metric.setdefault(vote.metric, []).append(vote)
    events, scores = dict(fold.events), dict(fold.scores)
    for name, votes in by_metric.items():
        if policy.metric(name).kind is Kind.SCORE:
            scores[name] = scores.get(name, ScoreFold()).after(votes, policy)
        else:
            events[name] = events.get(name, EventFold()).after(votes, policy)
    return replace(fold, last_id=log[-1][0], events=events, scores=scores)


def looked(fold: Fold) -> Fold:
    """The same with the number of the look that is kept now."""
    return replace(fold, look=fold.look + 1)


def rows_of(fold: Fold, *, key: tuple[str, int], policy: Policy, at: float) -> list[Evidence]:
    """One row of evidence for each metric, all of the same look."""
    return [_row(fold, metric, key=key, policy=policy, at=at) for metric in policy.metrics]


def _row(
    fold: Fold, metric: Metric, *, key: tuple[str, int], policy: Policy, at: float
) -> Evidence:
    look = fold.look
    if metric.kind is Kind.SCORE:
        scored = fold.scores.get(metric.name, ScoreFold())
        kept = {"last_id": fold.last_id, "stages": scored.as_json()}
        return Evidence(*key, metric.name, scored.points, None, look, at, kept)
    events = fold.events.get(metric.name, EventFold())
    kept = {"last_id": fold.last_id, "stages": events.as_json()}
    if not metric.relative:
        return Evidence(*key, metric.name, (), None, look, at, kept)
    stages = sorted(events.stages)
    votes = np.array([events.stages[stage] for stage in stages], float).reshape(-1, 2)
    counted = votes[:, 0], votes[:, 1], np.array([policy.share(stage) for stage in stages])
    worse = e.rollback_points(*counted, tolerated=metric.tolerated).sum(axis=0)
    fine = e.promotion_points(*counted, margin=metric.margin, tolerated=metric.tolerated)
    minus = tuple(map(float, fine.sum(axis=0)))
    return Evidence(*key, metric.name, tuple(map(float, worse)), minus, look, at, kept)


def fold_of(rows: Mapping[str, Evidence], policy: Policy) -> Fold:
    """Read the fold that was kept; from the beginning when rows are missing or differ."""
    found = [rows[metric.name] for metric in policy.metrics if metric.name in rows]
    marks = {(row.look, _last_id(row)) for row in found}
    if len(found) != len(policy.metrics) or len(marks) != 1:
        return Fold(look=max((row.look for row in found), default=0))
    look, last_id = marks.pop()
    events: dict[str, EventFold] = {}
    scores: dict[str, ScoreFold] = {}
    for row in found:
        kept: Mapping[str, Any] = (row.fold or {}).get("stages", {})
        if policy.metric(row.metric).kind is Kind.SCORE:
            sums = {int(stage): (float(n), float(t)) for stage, (n, t) in kept.items()}
            scores[row.metric] = ScoreFold(row.log_e, sums)
        else:
            counts = {int(stage): (int(a), int(b)) for stage, (a, b) in kept.items()}
            events[row.metric] = EventFold(counts)
    return Fold(last_id, look, events, scores)


def _last_id(row: Evidence) -> int:
    return int((row.fold or {}).get("last_id", 0))
