"""Changes by REST, command line and env file against the workers of a real service, by HTTP.

Every worker is asked for a search all the time, on a connection of its own, and tells in a header
what it decided. A decision is stale when its request began after the change was acknowledged by
`?wait=1` and still used the old value, and late when it began after the reply to a change that
did not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.lines import Line, lines, post
from bench.outage import opened
from bench.outage_scene import ADMIN, Scene, dtrag
from bench.propagation import quantile

GAP_S = 0.01
PAUSE_S = (0.1, 0.3)
LIMIT_S = 10.0
# Of ten changes; the rest ask for the acknowledgement.
PLAIN_OF_TEN = 3


@dataclass(slots=True)
class Watched:
    """A worker's decisions as runs of equal ones: first and last start, and the value."""

    line: Line
    runs: list[tuple[float, float, bool]] = field(default_factory=list)
    count: int = 0

    async def ask(self, key: str) -> None:
        """One more decision."""
        began_s = time.monotonic()
        reply = await self.line.ask(SEARCH)
        if reply.status != 200:
            raise RuntimeError(f"{reply.status} {reply.body!r}")
        self.count += 1
        value = reply.flags[key]
        if self.runs and self.runs[-1][2] is value:
            self.runs[-1] = (self.runs[-1][0], began_s, value)
        else:
            self.runs.append((began_s, began_s, value))

    def first_s(self, after_s: float, *, value: bool) -> float | None:
        """When the first request began that was decided so, after a moment."""
        for began_s, last_s, seen in self.runs:
            if seen is value and last_s >= after_s:
                return max(began_s, after_s)
        return None

    def old_s(self, after_s: float, *, value: bool) -> float | None:
        """When the last request began that was decided otherwise, if after a moment."""
        newer = self.first_s(after_s, value=value) or float("inf")
        old = (last for _, last, seen in self.runs if seen is not value and after_s < last < newer)
        return max(old, default=None)


SEARCH = post("/api/v1/search", {"q": "flag", "mode": "lexical"})


@dataclass(frozen=True, slots=True)
class Change:
    """One change: how, when it was asked for and replied to, and the value that it made."""

    how: str
    began_s: float
    replied_s: float
    value: bool
    acked_ms: float | None = None


@dataclass(frozen=True, slots=True)
class MeasuredHttp:
    """Milliseconds from a change to the first request of the last worker that is decided by it.

    Attributes:
        last_ms: by how the change was made; from the start of its request, of its process for the
            command line, or from the replacement of the file.
        acked_ms: to the acknowledgement of all workers, as the service says.
        stale: workers that decided by an old value after the acknowledgement.
        late_ms: how long after the reply to a change that did not wait.
    """

    last_ms: Mapping[str, list[float]]
    acked_ms: list[float]
    stale: int
    late_ms: list[float]
    decisions: int


class Changer:
    """Changes one flag in every way that there is."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._at = scene.turning

    async def change(self, how: str, *, value: bool) -> Change:
        """Make the flag `value`."""
        line = await Line.open(self._scene.port)  # one that waits is closed after five seconds
        began_s, acked_ms = time.monotonic(), None
        if how == "file":
            new = self._scene.env_file.with_suffix(".new")
            new.write_text("" if value else f"FEATURE_{self._at.upper()}=false\n")
            new.replace(self._scene.env_file)
        elif how == "cli":
            words = ("flags", "set", f"{self._at}={'on' if value else 'off'}")
            await asyncio.to_thread(dtrag, self._scene.env, *words)
        else:
            acked_ms = await self._by_rest(line, value=value, wait=how == "waited")
        replied_s = time.monotonic()
        await line.close()
        return Change(how, began_s, replied_s, value, acked_ms)

    async def _by_rest(self, line: Line, *, value: bool, wait: bool) -> float | None:
        place = f"{ADMIN}/flags/{self._at}{'?wait=1' if wait else ''}"
        key = ("X-API-Key", self._scene.key)
        reply = await line.ask(post(place, {"on": value}, key, method="PATCH"))
        if reply.status not in (200, 202):
            raise RuntimeError(f"{reply.status} {reply.body!r}")
        # 202: not all workers have acknowledged within two seconds, so there is no promise.
        return float(reply.json()["elapsed_ms"]) if wait and reply.status == 200 else None


async def measure(engine: str, *, flips: int, workers: int, others: int = 0) -> MeasuredHttp:
    """Change a flag `flips` times by REST, and `others` times by each of command line and file."""
    with tempfile.TemporaryDirectory(prefix="dtrag-propagation-") as home:
        async with (
            opened(engine, Path(home)) as database,
            Scene.running(Path(home), database.url, workers=workers) as scene,
        ):
            found = await lines(scene.port, workers=workers)
            watched = [Watched(mine[0]) for mine in found.values()]
            changer = Changer(scene)
            async with _asking(watched, scene.turning):
                changes = await _changed(changer, watched, flips=flips, others=others)
            for worker in watched:
                await worker.line.close()
    return _judged(changes, watched)


@contextlib.asynccontextmanager
async def _asking(watched: Sequence[Watched], key: str) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def going(worker: Watched) -> None:
        while not stop.is_set():
            await worker.ask(key)
            await asyncio.sleep(GAP_S)

    async with asyncio.TaskGroup() as group:
        for worker in watched:
            group.create_task(going(worker))
        try:
            yield
        finally:
            stop.set()


async def _changed(
    changer: Changer, watched: Sequence[Watched], *, flips: int, others: int
) -> list[Change]:
    ways = ["plain" if flip % 10 < PLAIN_OF_TEN else "waited" for flip in range(flips)]
    ways += ["cli"] * others
    rng, made = random.Random(7), []
    rng.shuffle(ways)
    value = True
    # The file only takes away, so it comes last, when the flag is on.
    for how in [*ways, *(["plain"] if len(ways) % 2 == 0 else []), *["file"] * others]:
        made.append(await changer.change(how, value=value))
        await _seen(watched, made[-1])
        await asyncio.sleep(rng.uniform(*PAUSE_S))
        value = not value
    return made


async def _seen(watched: Sequence[Watched], change: Change) -> None:
    end_s = time.monotonic() + LIMIT_S
    for worker in watched:
        while worker.first_s(change.began_s, value=change.value) is None:
            if time.monotonic() > end_s:
                raise RuntimeError(f"worker {worker.line.pid} did not follow {change}")
            await asyncio.sleep(GAP_S)


def _judged(changes: Sequence[Change], watched: Sequence[Watched]) -> MeasuredHttp:
    last: dict[str, list[float]] = {}
    stale, late = 0, []
    for change in changes:
        firsts = [each.first_s(change.began_s, value=change.value) for each in watched]
        spent_ms = max((first - change.began_s) * 1e3 for first in firsts if first is not None)
        last.setdefault(change.how, []).append(spent_ms)
        olds = [each.old_s(change.replied_s, value=change.value) for each in watched]
        found = [(old - change.replied_s) * 1e3 for old in olds if old is not None]
        if change.acked_ms is not None:
            stale += len(found)
        elif change.how == "plain":
            late += found
    acked = [each.acked_ms for each in changes if each.acked_ms is not None]
    return MeasuredHttp(last, acked, stale, late, sum(each.count for each in watched))


def show(engines: Sequence[str], *, flips: int, workers: int, others: int) -> None:
    """Measure and print each engine."""
    for engine in engines:
        found = asyncio.run(measure(engine, flips=flips, workers=workers, others=others))
        print(f"{engine} by HTTP: {workers} workers, {found.decisions} decisions")
        print(f"  {found.stale} stale after the acknowledgement, {len(found.late_ms)} late")
        rows = {**found.last_ms, "acknowledgement": found.acked_ms, "late": found.late_ms}
        for name, values in rows.items():
            if values:
                p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
                print(f"  {name:<16} {len(values):4}  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms")
