"""What happens in the arms: gathered in memory by each worker, merged into SQL once a second.

Nothing here waits for a database on a request's path: `expose` hashes a unit and counts it,
`finish` appends to a list, and `flush` does the rest behind the responses. At most a second of
counts is lost with a worker that is killed.

A unit is counted when it meets the flag and not when its request ends: requests of a slow canary
end later, and a count of ends would take that for an uneven split.

The counters of one arm and stage, as the controller reads them: for an event metric `n` requests
of which it is known, `total` bad ones, and `bad` votes, that is units that were bad for the first
time in the epoch; for `quality` the scores of units; for `duration_ms` and `tokens` sums of all
requests. The last moments are in slots, see `storage/rollout_recent.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Protocol
from uuid import uuid4

import structlog

from apps.core.domain.flags import Exposed
from apps.core.domain.ports import Clock
from apps.core.errors import StorageDown
from apps.core.flags.arms_batch import Gathered
from apps.core.flags.arms_outcome import BREAKING, FEEDBACK, NODE_ERROR, QUALITY, Outcome, findings
from apps.core.flags.arms_recent import Lately
from apps.core.flags.evaluation import Evaluation
from apps.core.flags.node_watch import NodeWatch
from apps.core.flags.rollout import CANARY
from apps.core.flags.snapshot import Snapshot
from apps.core.flags.spent import class_of
from apps.core.storage import flag_exposures, rollout_counts, rollout_recent
from apps.core.storage.engine import Storage
from apps.core.storage.flag_exposures import Exposure, exposure_row
from apps.core.storage.flag_tables import flag_exposure
from apps.core.storage.rollout_counts import UNITS, Cell, Unit, Vote
from apps.core.storage.rollout_spent import class_cell
from apps.core.telemetry import metrics

FLUSH_S = 1.0
TIDY_S = 600.0
MERGE_S = 5.0
# Exposures that are kept to look into, for each flag and arm between two flushes.
SAMPLED = 5
# Outcomes hold the text of an answer; past this many they are counted at once.
MOST_PENDING = 5_000
log = structlog.get_logger(__name__)


class Snapshots(Protocol):
    """Where the newest snapshot is."""

    @property
    def snapshot(self) -> Snapshot:
        """All flags at their newest version."""


class ArmRecorder:
    """Counts for one worker.

    Args:
        clock: dates what happens.
        pepper: keys the hashes of units, see `storage/secret.py`.
        store: knows the limits that the running stage froze.
        nodes: is told whether the nodes of flags work.
    """

    def __init__(
        self, clock: Clock, pepper: bytes, store: Snapshots, *, nodes: NodeWatch | None = None
    ) -> None:
        self._clock = clock
        self._pepper = pepper
        self._store = store
        self._nodes = nodes or NodeWatch()
        self._pending: list[Outcome] = []
        self._gathered = Gathered()
        self._lately = Lately()
        self._samples: list[Exposure] = []
        self._sampled: Counter[tuple[str, str]] = Counter()

    def expose(
        self, evaluation: Evaluation, flag_key: str, *, node: str, request_id: str
    ) -> Exposed | None:
        """Note that a request met a flag; None when it is in none of its arms."""
        made = evaluation.get(flag_key)
        hashed = evaluation.unit_hash(flag_key, self._pepper)
        if made is None or made.arm is None or hashed is None:
            return None
        metrics.flag_exposures.of(flag_key, made.arm).inc()
        met = Exposed(
            flag_key,
            made.arm,
            node,
            made.rollout,
            made.epoch,
            made.stage,
            hashed.hex(),
            # A run that another worker takes over comes again: with a hash for a unit it is told
            # from itself by the database.
            sticky=evaluation.units.get(flag_key) != request_id,
        )
        place = _place(met, UNITS)
        if place is not None:
            self._unit(met, place, self._clock.now())
        return met

    def finish(self, outcome: Outcome) -> None:
        """Take the end of a request; nothing when it met no flag."""
        if not outcome.exposed:
            return
        self._pending.append(outcome)
        if len(self._pending) >= MOST_PENDING:
            self._settle()

    def feedback(self, exposed: Iterable[Exposed], *, bad: bool) -> None:
        """Count what somebody said of an answer in the arms that the answer had met."""
        for met in exposed:
            place = _place(met, FEEDBACK)
            if place is not None:
                self._event(met, place, bad=bad)

    async def flush(self, storage: Storage) -> None:
        """Merge what was gathered, as one unit of work; nothing when there is nothing.

        Raises:
            StorageDown: the database is away; what was gathered is kept.
        """
        self._settle()
        self._write_samples(storage)
        if not self._gathered:
            return
        batch, merged = self._gathered.take(), False
        try:
            async with storage.session(within_s=MERGE_S) as s:
                await rollout_counts.merge(s, batch)
                merged = True
        except (StorageDown, asyncio.CancelledError):
            # A commit that broke may have been one: then the sums may be in the database already.
            self._gathered.give_back(batch, sums=not merged)
            metrics.rollout_merges.of("unknown" if merged else "delayed").inc()
            raise
        except Exception:
            # What the database refuses once it will refuse again.
            metrics.rollout_merges.of("dropped").inc()
            log.exception("arms.refused")
            return
        metrics.rollout_merges.of("merged").inc()
        self._gathered.confirm(batch)

    async def run(self, storage: Storage) -> None:
        """Merge once a second until cancelled, and once more at the end."""
        tidied_s = self._clock.monotonic()
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                await self._flushed(storage)
                if self._clock.monotonic() - tidied_s >= TIDY_S:
                    tidied_s = self._clock.monotonic()
                    await self._tidy(storage)
        finally:
            await self._flushed(storage)

    async def _flushed(self, storage: Storage) -> None:
        try:
            await self.flush(storage)
        except StorageDown as error:
            log.warning("arms.not_merged", code=error.code)

    async def _tidy(self, storage: Storage) -> None:
        now = self._clock.now()
        try:
            async with storage.session() as s:
                await rollout_recent.forget_before(s, now - rollout_recent.KEPT_S)
                await flag_exposures.forget_before(s, now - flag_exposures.KEPT_S)
        except StorageDown as error:
            log.warning("arms.not_tidied", code=error.code)

    def _settle(self) -> None:
        """Turn outcomes into counts."""
        pending, self._pending = self._pending, []
        for outcome in pending:
            for met in outcome.exposed:
                self._sample(met, outcome)
                place = _place(met, UNITS)
                if place is not None:
                    self._count(met, place, outcome)

    def _count(self, met: Exposed, place: Cell, outcome: Outcome) -> None:
        found = findings(outcome, met.flag_key, self._tau(met))
        for metric, bad in found.items():
            self._event(met, _of(place, metric), bad=bad, at=outcome.at)
        if outcome.left:
            return
        # Of an experiment any variant; only readers know which one is compared with.
        if met.arm != CANARY:
            for limit, value in outcome.spent.items():
                self._gathered.sum(class_cell(place, limit, class_of(value))).add(n=1)
        self._value(_of(place, "duration_ms"), outcome.duration_ms)
        self._value(_of(place, "tokens"), outcome.tokens)
        if outcome.quality is not None:
            self._gathered.vote(_vote(met, _of(place, QUALITY), outcome.at, outcome.quality))
        if met.arm == CANARY and NODE_ERROR in found:
            self._nodes.note(met, failed=found[NODE_ERROR])
        broken = any(found.get(metric) for metric in BREAKING)
        first = self._lately.first(met, outcome.at)
        slot = self._gathered.sum(rollout_recent.slot_cell(place, outcome.at))
        slot.add(n=1, bad=int(broken), total=float(first))

    def _event(self, met: Exposed, cell: Cell, *, bad: bool, at: float | None = None) -> None:
        self._gathered.sum(cell).add(n=1, total=float(bad))
        if not bad:
            return
        at = self._clock.now() if at is None else at
        metrics.rollout_bad.of(met.flag_key, met.arm, cell.metric).inc()
        self._gathered.vote(_vote(met, cell, at))
        self._gathered.sum(rollout_recent.slot_cell(cell, at, metric=cell.metric)).add(n=1)

    def _value(self, cell: Cell, value: float | None) -> None:
        if value is not None:
            self._gathered.sum(cell).add(n=1, total=value, total_sq=value * value)

    def _unit(self, met: Exposed, place: Cell, at: float) -> None:
        new = True
        if met.sticky:
            new = self._gathered.unit(
                Unit(place.rollout_id, place.epoch, met.unit_hash, place.stage_idx, met.arm, at)
            )
        else:
            self._gathered.sum(place).add(n=1)
        if new:
            metrics.rollout_units.of(met.flag_key, met.arm).inc()

    def _tau(self, met: Exposed) -> dict[str, float]:
        """The limits of the stage that the request was in; none when that stage is over."""
        rollout = self._store.snapshot.world.rollouts.get(met.flag_key)
        if rollout is None or (rollout.id, rollout.epoch, rollout.stage) != (
            met.rollout,
            met.epoch,
            met.stage,
        ):
            return {}
        return dict(rollout.tau)

    def _sample(self, met: Exposed, outcome: Outcome) -> None:
        self._sampled[met.flag_key, met.arm] += 1
        if self._sampled[met.flag_key, met.arm] <= SAMPLED:
            self._samples.append(
                Exposure(
                    uuid4().hex,
                    met.flag_key,
                    met.arm,
                    met.unit_hash,
                    outcome.request_id,
                    met.node,
                    outcome.at,
                    met.rollout,
                    met.epoch,
                    met.stage,
                )
            )

    def _write_samples(self, storage: Storage) -> None:
        for sample in self._samples:
            storage.writer.put(flag_exposure, exposure_row(sample))
        self._samples.clear()
        self._sampled.clear()


def _place(met: Exposed, metric: str) -> Cell | None:
    """Where it counts; a share that was set by hand has no statistics."""
    if met.rollout is None or met.epoch is None or met.stage is None:
        return None
    return Cell(met.rollout, met.epoch, met.stage, metric, met.arm)


def _of(place: Cell, metric: str) -> Cell:
    return Cell(place.rollout_id, place.epoch, place.stage_idx, metric, place.arm)


def _vote(met: Exposed, cell: Cell, at: float, score: float | None = None) -> Vote:
    return Vote(
        cell.rollout_id,
        cell.epoch,
        cell.metric,
        met.unit_hash,
        cell.stage_idx,
        cell.arm,
        at,
        score,
    )
