"""What is asked once in each turn of the event loop, however many requests are served in it.

Requests that are served in one turn had all arrived before its first one was, so an answer that
was fetched in this turn is newer than each of them: nothing that was committed before a request
was sent can be missed. Under load a turn serves every waiting connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import get_ident
from typing import Generic, TypeVar

T = TypeVar("T")


class EachTurn(Generic[T]):
    """A question whose answer holds until the loop looks for new requests.

    Args:
        ask: fetches the answer. Outside an event loop it is called every time.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        # The thread and the loop in whose present turn the question was asked, and what came back.
        self._asked: tuple[int, asyncio.AbstractEventLoop, T] | None = None

    def __call__(self) -> T:
        """The answer of this turn."""
        asked = self._asked
        # A thread runs one loop at a time; asking which one costs a call of the system.
        if asked is not None and asked[0] == get_ident() and asked[1].is_running():
            return asked[2]
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._ask()
        answer = self._ask()
        self._asked = (get_ident(), loop, answer)
        # Called at the start of the next turn, before what the loop hears of in between.
        loop.call_soon(self.forget)
        return answer

    def forget(self) -> None:
        """Ask again next time, even in this turn."""
        self._asked = None
