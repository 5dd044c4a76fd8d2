"""The same request twice does its work once, on both engines."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from apps.core.errors import BusinessFailure
from apps.core.storage import idempotency
from apps.core.storage.engine import Storage
from apps.core.storage.idempotency import CLAIM_S, KEPT_S, Claim, StoredResponse

FIRST = Claim(caller="k1", route="answer", key="abc", at=1000.25)
DONE = StoredResponse(200, b'{"answer": "\xeb\x8b\xb5"}')


def later(seconds: float) -> Claim:
    """The same request some time after the first."""
    return dataclasses.replace(FIRST, at=FIRST.at + seconds)


async def claim(storage: Storage, wanted: Claim = FIRST, body: str = "b1") -> StoredResponse | None:
    """Ask for the work in a unit of its own."""
    async with storage.session() as s:
        return await idempotency.claim(s, wanted, body_sha256=body)


async def complete(storage: Storage, mine: Claim = FIRST) -> bool:
    """Keep the response."""
    async with storage.session() as s:
        return await idempotency.complete(s, mine, DONE)


async def test_the_first_request_gets_the_work(storage: Storage) -> None:
    """A new key is the caller's to work on."""
    assert await claim(storage) is None


async def test_a_repeated_request_gets_the_first_response(storage: Storage) -> None:
    """The stored bytes come back, and the work is not done again."""
    await claim(storage)
    assert await complete(storage)
    assert await claim(storage, later(KEPT_S - 1)) == DONE


async def test_a_request_that_is_still_running_is_refused(storage: Storage) -> None:
    """Two at once would do the work twice."""
    await claim(storage)
    with pytest.raises(BusinessFailure, match="still running"):
        await claim(storage, later(CLAIM_S - 1))


@pytest.mark.parametrize("finished", [True, False])
async def test_another_body_is_refused(storage: Storage, *, finished: bool) -> None:
    """A key stands for one request only."""
    await claim(storage)
    if finished:
        await complete(storage)
    with pytest.raises(BusinessFailure, match="another body"):
        await claim(storage, later(1), body="b2")


async def test_callers_and_routes_do_not_share_keys(storage: Storage) -> None:
    """Everyone may call their first request `abc`."""
    await claim(storage)
    assert await claim(storage, dataclasses.replace(FIRST, caller="k2")) is None
    assert await claim(storage, dataclasses.replace(FIRST, route="feedback")) is None


async def test_a_dead_processes_claim_runs_out(storage: Storage) -> None:
    """After a minute another may do the work, and the dead one may not finish it any more."""
    await claim(storage)
    second = later(CLAIM_S)
    assert await claim(storage, second) is None
    assert not await complete(storage, FIRST)
    assert await complete(storage, second)
    assert await claim(storage, later(CLAIM_S + 1)) == DONE


async def test_a_response_runs_out_after_a_day(storage: Storage) -> None:
    """Then the key is free, for any body."""
    await claim(storage)
    await complete(storage)
    assert await claim(storage, later(KEPT_S), body="b2") is None


async def test_a_released_claim_is_free_at_once(storage: Storage) -> None:
    """A request that failed may be tried again."""
    await claim(storage)
    async with storage.session() as s:
        await idempotency.release(s, FIRST)
    assert await claim(storage, later(1)) is None


async def test_releasing_does_not_take_anothers_claim(storage: Storage) -> None:
    """The loser of a claim that ran out leaves the winner alone, and a response too."""
    await claim(storage)
    second = later(CLAIM_S)
    await claim(storage, second)
    async with storage.session() as s:
        await idempotency.release(s, FIRST)
    assert await complete(storage, second)
    async with storage.session() as s:
        await idempotency.release(s, second)
    assert await claim(storage, later(CLAIM_S + 1)) == DONE


async def test_of_many_at_once_one_gets_the_work(storage: Storage) -> None:
    """The database decides between requests of the same moment."""
    outcomes = await asyncio.gather(
        *(claim(storage, later(n / 1000)) for n in range(10)), return_exceptions=True
    )
    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, BusinessFailure) for outcome in outcomes) == 9


async def test_old_rows_are_forgotten(storage: Storage) -> None:
    """Retention deletes what nobody can ask for any more."""
    await claim(storage)
    await claim(storage, dataclasses.replace(FIRST, key="young", at=5000.0))
    async with storage.session() as s:
        assert await idempotency.forget_before(s, 2000.0) == 1
