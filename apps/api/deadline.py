"""A time limit that costs nothing until the work has to wait.

Most searches end without waiting for anything, and only waiting can be cut short, so the timer
is made when the work waits for the first time: 20 µs that a search never pays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from apps.api.exchange import Exchange
from apps.core.errors import DeadlineExceeded

Work = Coroutine[Any, Any, None]


async def within(limit_s: float, exchange: Exchange, work: Work) -> None:
    """Do `work`, and cut it short when it waits for longer than `limit_s` seconds in all.

    Raises:
        DeadlineExceeded: the time was up.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return
    try:
        async with asyncio.timeout(limit_s if exchange.limited else None) as timer:
            exchange.timer = timer
            await _Rest(work, waits_for)
    except TimeoutError as error:
        if timer.expired():
            raise DeadlineExceeded(f"Not finished within {limit_s:g} s.") from error
        raise


class _Rest:
    """What is left of work that has begun to wait, for the same task to go on with."""

    def __init__(self, work: Work, waits_for: object) -> None:
        self._work = work
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    heard = yield waits_for
                except BaseException as error:
                    waits_for = self._work.throw(error)
                else:
                    waits_for = self._work.send(heard)
        except StopIteration:
            return
