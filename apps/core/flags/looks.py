"""One look at a rollout: everything that is known of it, read from SQL in one state.

Here rows become counters, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from apps.core.flags import health, rollout_votes
from apps.core.flags.arms_recent import AGAIN_S
from apps.core.flags.counters import Arms, Counters, Recent, StageCounters, Tally
from apps.core.flags.metric import Kind
from apps.core.flags.policy import Policy
from apps.core.flags.rollout import CANARY, CONTROL
from apps.core.flags.rollout_rows import attempt_of, policy_of, state_of
from apps.core.flags.rollout_votes import Fold
from apps.core.flags.states import Attempt
from apps.core.storage import (
    flag_acks,
    flag_exposures,
    rollout_counts,
    rollout_evidence,
    rollout_recent,
)
from apps.core.storage.connections import Session
from apps.core.storage.flag_exposures import Seen
from apps.core.storage.rollout_counts import UNITS, Cell
from apps.core.storage.rollout_recent import Moments
from apps.core.storage.rollouts import Rollout

# What makes a request a bad one for the breaker.
BREAKING = ("error", "node_error")
Tallies = Mapping[Cell, rollout_counts.Tally]


@dataclass(frozen=True, slots=True)
class Look:
    """A rollout as its row, as its state, and what was counted of it.

    Fields:
        stages: indices of the stages that the counters list, in their order.
        fold: the votes that the counters hold.
        news: whether there are votes that no evidence was kept of yet.
    """

    row: Rollout
    state: Attempt
    counters: Counters
    stages: tuple[int, ...]
    fold: Fold
    news: bool

    def provenance(self) -> dict[str, object]:
        """For whoever checks the evidence: what finds the votes of this look, and the signs."""
        found = {"last_vote_id": self.fold.last_id, "stage_idxs": list(self.stages)}
        return {**found, "signs": self.counters.health.as_json()}


async def read(s: Session, row: Rollout, *, now: float) -> Look:
    """Look at a rollout; call it in `storage.reading()`, which sees one state."""
    policy, key = policy_of(row), (row.id, attempt_of(row))
    kept = rollout_votes.fold_of(await rollout_evidence.latest(s, *key), policy)
    fold = await rollout_votes.follow(s, kept, key=key, policy=policy)
    tallies = await rollout_counts.tallies(s, *key)
    seen = await _canary_seen(s, row, tallies, policy)
    visited = {cell.stage_idx for cell in tallies} - {row.stage_idx}
    order = (*sorted(visited), row.stage_idx)
    counters = Counters(
        tuple(
            _stage(stage, tallies, fold, policy=policy, seen=seen * (stage == row.stage_idx))
            for stage in order
        ),
        await _recent(s, row, policy, now=now),
        await health.read(s, row, now=now),
        fold.score_states(),
        fold.look + 1,
    )
    return Look(row, state_of(row), counters, order, fold, fold.last_id > kept.last_id)


def _stage(
    stage: int, tallies: Tallies, fold: Fold, *, policy: Policy, seen: int = 0
) -> StageCounters:
    here = {(c.metric, c.arm): tally for c, tally in tallies.items() if c.stage_idx == stage}
    arms = {
        metric.name: Arms(
            *(
                _tally(here.get((metric.name, arm)), votes, scored=metric.kind is Kind.SCORE)
                for arm, votes in zip(
                    (CANARY, CONTROL), fold.votes(metric.name, stage), strict=True
                )
            )
        )
        for metric in policy.metrics
    }
    canary, control = (
        here[UNITS, arm].n if (UNITS, arm) in here else 0 for arm in (CANARY, CONTROL)
    )
    return StageCounters(
        policy.share(stage),
        canary,
        control,
        canary_seen=max(seen, canary),
        requests=_requests(arms, CANARY) + _requests(arms, CONTROL),
        arms=arms,
    )


def _tally(stored: rollout_counts.Tally | None, votes: int, *, scored: bool) -> Tally:
    """The counter of an event keeps its bad requests in `total`, that of a score the scores."""
    found = stored or rollout_counts.Tally()
    if scored:
        return Tally(n=found.n, total=found.total, total_sq=found.total_sq)
    bad = max(round(found.total), votes)
    return Tally(n=max(found.n, bad), bad=bad, votes=votes)


def _requests(arms: Mapping[str, Arms], arm: str) -> int:
    """Every request has the metric that most requests have."""
    return max((getattr(found, arm).n for found in arms.values()), default=0)


async def _canary_seen(s: Session, row: Rollout, tallies: Tallies, policy: Policy) -> int:
    """Units seen in the canary of this stage, old ones too, at least so many as are needed.

    Old units are known by the sampled exposures only, so this may be too small, never too large.
    """
    new = tallies.get(Cell(row.id, attempt_of(row), row.stage_idx, UNITS, CANARY))
    if new is not None and new.n >= policy.min_units:
        return new.n
    since = row.stage_started_at or 0.0
    sampled = Seen(row.id, attempt_of(row), CANARY, since)
    return len(await flag_exposures.units(s, sampled, limit=policy.min_units))


async def _recent(s: Session, row: Rollout, policy: Policy, *, now: float) -> Recent:
    key, window_s = (row.id, attempt_of(row)), policy.breaker_window_s
    silence_s = min(policy.silence_s, rollout_recent.KEPT_S)
    moments = await rollout_recent.moments(s, *key, now=now, window_s=window_s, silence_s=silence_s)
    canary, control = (moments.get(arm, Moments()) for arm in (CANARY, CONTROL))
    units, bad_units = set[str](), set[str]()
    if canary.requests and canary.bad >= policy.breaker_share * canary.requests:
        units, bad_units = await _failing(s, row, since=now - window_s)
    last = {
        arm: met.last_at if met.last_at is not None else await _last_at(s, row, arm, now=now)
        for arm, met in ((CANARY, canary), (CONTROL, control))
    }
    control_units = await _control_units(s, row, policy, now=now, told=control.units)
    return Recent(
        canary.requests,
        canary.bad,
        len(units),
        len(bad_units),
        dict(canary.events),
        control_units,
        last[CANARY],
        last[CONTROL],
    )


async def _control_units(s: Session, row: Rollout, policy: Policy, *, now: float, told: int) -> int:
    """Distinct control units lately: never too many, and enough of them if there are.

    Each worker tells a unit that it has not met for a while, so the sum of what is `told` holds
    one as often as workers met it. The sample knows who is who, but misses some of a burst.
    """
    times = math.floor((policy.silence_s + rollout_recent.SLOT_S) / AGAIN_S) + 1
    sure = told // (times * max(1, len(await flag_acks.live(s))))
    sure = sure if policy.silence_s <= rollout_recent.KEPT_S else 0
    if sure >= policy.min_control_units:
        return sure
    since = Seen(row.id, attempt_of(row), CONTROL, now - policy.silence_s)
    sampled = await flag_exposures.units(s, since, limit=max(1, policy.min_control_units))
    return max(sure, len(sampled))


async def _failing(s: Session, row: Rollout, *, since: float) -> tuple[set[str], set[str]]:
    """Sampled canary units of the last moments, and those of them that began to fail in them."""
    key = (row.id, attempt_of(row))
    units = await flag_exposures.units(s, Seen(*key, CANARY, since))
    votes = await rollout_counts.bad_units(s, *key, metrics=BREAKING, arm=CANARY, since=since)
    return units, units & {unit for _, unit in votes}


async def _last_at(s: Session, row: Rollout, arm: str, *, now: float) -> float | None:
    sampled = Seen(row.id, attempt_of(row), arm, now - flag_exposures.KEPT_S)
    return await flag_exposures.last_at(s, sampled)
