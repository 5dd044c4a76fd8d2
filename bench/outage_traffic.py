"""Requests that go on all the time, and what each user was decided to be."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lines import Line, Reply, get, post

if TYPE_CHECKING:
    from bench.outage_scene import Scene

USERS = 40
PAUSE_S = {"search": 0.02, "answer": 0.05, "once": 0.1, "new": 0.1}
LIMIT_S = 20.0
KEEP_S = 1.0
# Those whose value is a matter of the user, by hand and by a rollout.
SHARED = ("meta_planner", "debate_mode")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; `status` is 0 when no answer came, `exposed` whether it was to be counted."""

    kind: str
    pid: int
    user: str
    began_s: float
    spent_ms: float
    status: int
    decided: tuple[bool, ...] = ()
    detail: str = ""


class Traffic:
    """Asks every worker; each user is to keep what was decided last."""

    def __init__(self, scene: Scene) -> None:
        self.asked: list[Asked] = []
        self._scene = scene
        self._numbers = scene.numbers
        self._rng = random.Random(11)
        self._stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def going(self, found: Mapping[int, Sequence[Line]]) -> AsyncIterator[None]:
        """Ask until the block ends; the last line of each worker stays free."""
        async with asyncio.TaskGroup() as group:
            for mine in found.values():
                group.create_task(self._lane(mine[0], ("search",)))
                group.create_task(self._lane(mine[1], ("answer", "once")))
                group.create_task(self._keep(mine[2]))
            group.create_task(self._new())
            try:
                yield
            finally:
                self._stop.set()
        for line in (line for mine in found.values() for line in mine):
            await line.close()

    async def learned(self) -> None:
        """Wait until every worker answers and every user has been decided."""
        # Woken by nothing else: the requests only note what came back.
        while not self._warm():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def _warm(self) -> bool:
        good = [each for each in self.asked if each.status == 200]
        answering = {each.pid for each in good if each.kind == "once"}
        return len(answering) == self._scene.workers and len({each.user for each in good}) == USERS

    def flips(self, gone_s: float) -> int:
        """Requests since a moment that were decided otherwise than their user's last before it."""
        good = [each for each in self.asked if each.status == 200]
        known = {each.user: each.decided for each in good if each.began_s < gone_s}
        return sum(known[each.user] != each.decided for each in good if each.began_s >= gone_s)

    async def _lane(self, line: Line, kinds: Sequence[str]) -> None:
        for kind in itertools.cycle(kinds):
            if self._stop.is_set():
                return
            await self._ask(line, kind)
            await asyncio.sleep(PAUSE_S[kind])

    async def _keep(self, line: Line) -> None:
        # The server closes a connection that was silent for five seconds.
        while not self._stop.is_set():
            await line.ask(get("/healthz"))
            await asyncio.sleep(KEEP_S)

    async def _new(self) -> None:
        while not self._stop.is_set():
            line = await Line.open(self._scene.port)
            await self._ask(line, "new")
            await line.close()
            await asyncio.sleep(PAUSE_S["new"])

    async def _ask(self, line: Line, kind: str) -> None:
        number = next(self._numbers)
        user = f"user-{self._rng.randrange(USERS)}"
        request = self._request(kind, user, number)
        began_s = time.monotonic()
        status, detail = 0, ""
        decided: tuple[bool, ...] = ()
        try:
            async with asyncio.timeout(LIMIT_S):
                reply = await line.ask(request)
            status, decided = reply.status, _decided(reply)
            detail = "" if status == 200 else reply.body.decode(errors="replace")[:200]
        except (OSError, EOFError, TimeoutError) as error:
            detail = repr(error)
        spent_ms = (time.monotonic() - began_s) * 1e3
        self.asked.append(Asked(kind, line.pid, user, began_s, spent_ms, status, decided, detail))
        if not status:
            raise RuntimeError(f"no answer: {self.asked[-1]}")

    def _request(self, kind: str, user: str, number: int) -> bytes:
        headers = [("X-API-Key", self._scene.key)]
        if kind in ("search", "new"):
            body = {"q": f"What is a neural network? ({number})", "user_id": user}
            return post("/api/v1/search", body, *headers)
        if kind == "once":
            headers.append(("Idempotency-Key", str(number)))
        body = {"question": "How do I roll a feature back?", "user_id": user}
        return post("/api/v1/answer", body, *headers)


def _decided(reply: Reply) -> tuple[bool, ...]:
    flags = reply.flags
    return tuple(flags[key] for key in SHARED) if flags else ()
