"""Counters, votes and units on both engines: the first vote counts, once, whoever reports it."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from apps.core.storage import (
    flag_exposures,
    flag_tables,
    rollout_counts,
    rollout_evidence,
    rollouts,
)
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause
from apps.core.storage.flag_exposures import Exposure, exposure_row
from apps.core.storage.rollout_counts import UNITS, Batch, Cell, Tally, Unit, Vote
from apps.core.storage.rollout_evidence import Evidence
from apps.core.storage.rollouts import RolloutWish
from tests.contracts import processes

NOW = 1_800_000_000.0
RACERS = 4
UNITS_A_RACER = 60

MERGING_PROCESS = """
from apps.core.storage import rollout_counts as rc

async def main(storage, rollout_id, first, count):
    print("ready", flush=True)
    input()
    new = 0
    for start in range(int(first), int(first) + int(count), 10):
        hashes = [f"{n:032x}" for n in range(start, start + 10)]
        arms = ["canary" if n % 2 else "control" for n in range(start, start + 10)]
        votes = [
            rc.Vote(rollout_id, 1, "error", h, 0, a, 1.0) for h, a in zip(hashes, arms)
        ]
        units = [rc.Unit(rollout_id, 1, h, 0, a, 1.0) for h, a in zip(hashes, arms)]
        tallies = {rc.Cell(rollout_id, 1, 0, "error", a): rc.Tally(n=5) for a in set(arms)}
        async with storage.session() as s:
            new += await rc.merge(s, rc.Batch(tallies, units, votes))
    print(new)

run(main)
"""


@pytest.fixture
async def rollout_id(storage: Storage) -> str:
    """The id of a rollout."""
    async with storage.session() as s:
        wish = RolloutWish("debate_mode", (5.0, 100.0), "s1")
        return (await rollouts.create(s, wish, cause=Cause("me", "cli", NOW))).id


def vote(rollout_id: str, unit: str, **changed: object) -> Vote:
    """A bad event of a canary unit at the first stage."""
    values = {
        "rollout_id": rollout_id, "epoch": 1, "metric": "error", "unit_hash": unit,
        "stage_idx": 0, "arm": "canary", "at": NOW, **changed,
    }  # fmt: skip
    return Vote(**values)


async def merge(storage: Storage, batch: Batch) -> int:
    """A committed batch."""
    async with storage.session() as s:
        return await rollout_counts.merge(s, batch)


async def tallies(storage: Storage, rollout_id: str, epoch: int = 1) -> dict[Cell, Tally]:
    """Every counter."""
    async with storage.reading() as s:
        return await rollout_counts.tallies(s, rollout_id, epoch)


async def log(storage: Storage, rollout_id: str, *metrics: str) -> list[tuple[int, Vote]]:
    """The vote log."""
    async with storage.reading() as s:
        return await rollout_counts.votes(s, rollout_id, 1, metrics=metrics)


async def test_an_empty_batch_counts_nothing(storage: Storage, rollout_id: str) -> None:
    """A worker without traffic may still call."""
    assert await merge(storage, Batch({})) == 0
    assert await tallies(storage, rollout_id) == {}


async def test_tallies_add_up(storage: Storage, rollout_id: str) -> None:
    """Deltas of many workers make one sum, beyond what 32 bits hold."""
    cell = Cell(rollout_id, 1, 0, "slow", "canary")
    other = Cell(rollout_id, 1, 0, "slow", "control")
    for _ in range(2):
        delta = Tally(n=3_000_000_000, bad=1, total=0.5, total_sq=0.25)
        await merge(storage, Batch({other: Tally(n=1), cell: delta}))
    assert await tallies(storage, rollout_id) == {
        cell: Tally(6_000_000_000, 2, 1.0, 0.5),
        other: Tally(n=2),
    }


async def test_the_first_vote_of_a_unit_counts(storage: Storage, rollout_id: str) -> None:
    """Within a batch, between batches and across stages; metrics are apart."""
    first = Batch({}, votes=[vote(rollout_id, "a"), vote(rollout_id, "b"), vote(rollout_id, "a")])
    assert await merge(storage, first) == 2
    later = [
        vote(rollout_id, "a", stage_idx=1, arm="control"),
        vote(rollout_id, "c", stage_idx=1),
        vote(rollout_id, "a", metric="slow"),
    ]
    assert await merge(storage, Batch({}, votes=later)) == 2
    assert await tallies(storage, rollout_id) == {
        Cell(rollout_id, 1, 0, "error", "canary"): Tally(bad=2),
        Cell(rollout_id, 1, 1, "error", "canary"): Tally(bad=1),
        Cell(rollout_id, 1, 0, "slow", "canary"): Tally(bad=1),
    }


async def test_a_new_epoch_votes_anew(storage: Storage, rollout_id: str) -> None:
    """An attempt starts with empty counters."""
    await merge(storage, Batch({}, votes=[vote(rollout_id, "a")]))
    assert await merge(storage, Batch({}, votes=[vote(rollout_id, "a", epoch=2)])) == 1
    assert await tallies(storage, rollout_id, 2) == {
        Cell(rollout_id, 2, 0, "error", "canary"): Tally(bad=1)
    }


async def test_a_score_is_a_vote_with_a_value(storage: Storage, rollout_id: str) -> None:
    """It counts as an observation with sum and squares, and a zero is a score, not a bad event."""
    votes = [
        vote(rollout_id, "a", metric="quality", score=0.5),
        vote(rollout_id, "b", metric="quality", score=0.0),
        vote(rollout_id, "a", metric="quality", score=1.0),
    ]
    assert await merge(storage, Batch({}, votes=votes)) == 2
    assert await tallies(storage, rollout_id) == {
        Cell(rollout_id, 1, 0, "quality", "canary"): Tally(2, 0, 0.5, 0.25)
    }


async def test_scores_come_in_the_order_in_which_they_were_stored(
    storage: Storage, rollout_id: str
) -> None:
    """In a batch as given, then batch after batch, and a reader can go on where it stopped."""
    for names in ("zyx", "cba"):
        votes = [vote(rollout_id, name, metric="quality", score=0.5) for name in names]
        await merge(storage, Batch({}, votes=[*votes, vote(rollout_id, names[0])]))
    async with storage.reading() as s:
        found = await rollout_counts.scores(s, rollout_id, 1, metric="quality")
        assert [one.unit_hash for _, one in found] == list("zyxcba")
        assert [row for row, _ in found] == sorted(row for row, _ in found)
        rest = await rollout_counts.scores(
            s, rollout_id, 1, metric="quality", after_id=found[1][0], limit=2
        )
    assert [one.unit_hash for _, one in rest] == ["x", "c"]


async def test_the_log_agrees_with_the_counters(storage: Storage, rollout_id: str) -> None:
    """Evidence from counters and from the log is evidence from the same numbers."""
    votes = [
        vote(rollout_id, str(n % 7), arm="canary" if n % 3 else "control", stage_idx=n % 2)
        for n in range(40)
    ]
    await merge(storage, Batch({}, votes=votes))
    logged = Counter(one.cell for _, one in await log(storage, rollout_id, "error"))
    assert {c: t.bad for c, t in (await tallies(storage, rollout_id)).items()} == dict(logged)


async def test_a_sticky_unit_is_counted_at_its_first_stage(
    storage: Storage, rollout_id: str
) -> None:
    """Retries and later stages do not count it again; requests are only counted."""
    units = [
        Unit(rollout_id, 1, "a", 0, "canary", NOW),
        Unit(rollout_id, 1, "b", 0, "control", NOW),
        Unit(rollout_id, 1, "a", 1, "canary", NOW),
    ]
    here = Cell(rollout_id, 1, 0, UNITS, "canary")
    await merge(storage, Batch({here: Tally(n=10)}, units=units))
    await merge(storage, Batch({}, units=units))
    assert await tallies(storage, rollout_id) == {
        here: Tally(n=11),
        Cell(rollout_id, 1, 0, UNITS, "control"): Tally(n=1),
    }


async def test_a_large_batch_is_split(storage: Storage, rollout_id: str) -> None:
    """More rows than one statement takes."""
    votes = [vote(rollout_id, f"{n:032x}") for n in range(2500)]
    units = [Unit(rollout_id, 1, f"{n:032x}", 0, "canary", NOW) for n in range(2500)]
    assert await merge(storage, Batch({}, units, votes)) == 2500
    found = await log(storage, rollout_id, "error")
    assert [one.unit_hash for _, one in found] == [one.unit_hash for one in votes]


async def test_racing_workers_agree_with_the_database(
    database_url: str, storage: Storage, rollout_id: str
) -> None:
    """Overlapping reports of four processes: each unit and vote once, each tally added."""
    step = UNITS_A_RACER // 2
    each = [(database_url, rollout_id, str(n * step), str(UNITS_A_RACER)) for n in range(RACERS)]
    new = sum(map(int, processes.race(MERGING_PROCESS, each)))
    distinct = step * (RACERS + 1)
    assert new == distinct
    found = await tallies(storage, rollout_id)
    for arm in ("canary", "control"):
        batches = RACERS * UNITS_A_RACER // 10
        errors = found[Cell(rollout_id, 1, 0, "error", arm)]
        assert errors == Tally(n=5 * batches, bad=distinct // 2)
        assert found[Cell(rollout_id, 1, 0, UNITS, arm)] == Tally(n=distinct // 2)


async def test_ids_of_votes_grow_with_their_commits(storage: Storage, rollout_id: str) -> None:
    """A second worker gets no id before the first has committed, even for another arm."""
    if storage.embedded:
        pytest.skip("SQLite has one writer at a time")
    other = Batch({}, votes=[vote(rollout_id, "b", arm="control")])
    async with storage.session() as first, storage.session() as second:
        await rollout_counts.merge(first, Batch({}, votes=[vote(rollout_id, "a")]))
        await second.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            await rollout_counts.merge(second, other)
    assert await merge(storage, other) == 1
    found = await log(storage, rollout_id, "error")
    assert [one.unit_hash for _, one in found] == ["a", "b"]


def evidence(look: int, **changed: object) -> Evidence:
    """Evidence after a look."""
    values = {
        "rollout_id": "r", "epoch": 1, "metric": "error", "log_e": (0.1, -2.5, 1e-17),
        "log_e_minus": (0.0,), "look": look, "at": NOW, **changed,
    }  # fmt: skip
    return Evidence(**values)


async def test_evidence_comes_back_to_the_last_bit(storage: Storage) -> None:
    """Decisions must be computed again from what is stored."""
    binary = evidence(1)
    score = evidence(1, metric="quality", log_e_minus=None, fold={"after_id": 7, "mean": 1 / 3})
    async with storage.session() as s:
        assert await rollout_evidence.put(s, binary)
        assert await rollout_evidence.put(s, score)
    async with storage.reading() as s:
        found = await rollout_evidence.latest(s, "r", 1)
        assert await rollout_evidence.latest(s, "r", 2) == {}
    assert found == {"error": binary, "quality": score}


async def test_an_older_look_never_replaces_a_newer_one(storage: Storage) -> None:
    """A leader that was slow does not undo what its successor saw."""
    async with storage.session() as s:
        for look, kept in ((2, True), (1, False), (2, False), (3, True)):
            assert await rollout_evidence.put(s, evidence(look, log_e=(float(look),))) is kept
    async with storage.reading() as s:
        assert (await rollout_evidence.latest(s, "r", 1))["error"].log_e == (3.0,)


async def test_exposures_are_written_behind_and_forgotten(storage: Storage) -> None:
    """Through the row writer, with and without rollout, for a week."""
    old = Exposure("1", "f", "canary", "u", "q1", "debate_mode", NOW, "r", 1, 0)
    new = Exposure("2", "f", "control", "u", "q2", "debate_mode", NOW + 1)
    for one in (old, new, old):
        assert storage.writer.put(flag_tables.flag_exposure, exposure_row(one))
    await storage.writer.flush()
    async with storage.session() as s:
        assert await flag_exposures.listed(s, "f") == [new, old]
        assert await flag_exposures.listed(s, "other") == []
        assert await flag_exposures.forget_before(s, NOW + 1) == 1
        assert await flag_exposures.listed(s, "f") == [new]
