"""A service whose database goes away under load: what fails, what flips, and how it comes back.

Every worker is asked all the time for searches and answers, with a key, while a flag is on for
half of the users by hand and another by a rollout. Then its database goes away, flags are killed
by the host's file and by REST and vetoed by its env file, the database comes back, and a change
must reach every worker.

Run: python -m bench.outage [--seconds 60] [--workers 4] [--engine sqlite|postgresql] [--kind KIND]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.core.settings import load
from apps.core.storage.engine import Storage
from bench.databases import Database, Postgres, SqliteFile
from bench.lines import Line, lines
from bench.outage_scene import FORBIDDEN, Counted, Scene, counted, leaders
from bench.outage_traffic import Asked, Traffic

QUIET_S = 3.0
WRITTEN_S = 2.0
WRITTEN_LIMIT_S = 20.0
FOLLOW_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Obeyed:
    """Seconds until the last worker obeyed what was said while the database was away.

    Attributes:
        file: the host's KILL file.
        rest: a kill by REST, from before it was sent.
        veto: the host's env file.
    """

    file: float
    rest: float
    veto: float


@dataclass(frozen=True, slots=True)
class Outage:
    """What one absence did.

    Attributes:
        asked: every request, in the order of their ends.
        gone_s, back_s: when the database went and came back, as `Asked.began_s`.
        flipped: requests whose user was decided otherwise than last before the absence.
        obeyed: kills and a veto while the database was away.
        ready: what `/readyz` answered: before, during, after.
        ready_s: the longest answer of `/readyz` meanwhile.
        followed_s: from the return until the last worker had a change.
        kept: answers that were given since the start, and what the database has of them.
        leaders: of rollouts after the return.
        state: of the rollout after the return.
    """

    kind: str
    asked: Sequence[Asked]
    gone_s: float
    back_s: float
    flipped: int
    obeyed: Obeyed
    ready: tuple[int, int, int]
    ready_s: float
    followed_s: float
    kept: Counted
    leaders: int
    state: str

    @property
    def failed(self) -> list[Asked]:
        """Requests that were not answered with 200."""
        return [each for each in self.asked if each.status != 200]

    @property
    def longest_ms(self) -> float:
        """Of the requests that began during the absence."""
        return max(each.spent_ms for each in self.asked if self._phase(each) == "during")

    def p99_ms(self, phase: str) -> float:
        """Of the requests that began `before`, `during` or `after` the absence."""
        spent = sorted(each.spent_ms for each in self.asked if self._phase(each) == phase)
        return spent[min(len(spent) - 1, int(len(spent) * 0.99))] if spent else 0.0

    def _phase(self, asked: Asked) -> str:
        if asked.began_s < self.gone_s:
            return "before"
        return "during" if asked.began_s < self.back_s else "after"


async def away(
    scene: Scene, database: Database, kind: str, *, seconds: float, quiet_s: float = QUIET_S
) -> Outage:
    """Take the database away for `seconds`, `quiet_s` after the start, and give it back."""
    traffic = Traffic(scene)
    found = await lines(scene.port, workers=scene.workers, each=3)
    async with traffic.going(found):
        await traffic.learned()
        await asyncio.sleep(quiet_s)
        watched = [mine[-1] for mine in found.values()]
        ready, ready_s = [await scene.ready(watched[0])], 0.0
        gone_s = time.monotonic()
        await database.take_away(kind)
        try:
            await asyncio.sleep(seconds / 2)
            asked_s = time.monotonic()
            ready.append(await scene.ready(watched[0]))
            ready_s = time.monotonic() - asked_s
            obeyed = await _obeyed(scene, watched)
            await asyncio.sleep(max(0.0, seconds - (time.monotonic() - gone_s)))
            scene.kill_file.unlink()
            scene.env_file.write_text("")
        finally:
            await database.give_back()
        back_s = time.monotonic()
        followed_s = await _followed(scene, watched)
        await asyncio.sleep(quiet_s)
        ready.append(await scene.ready(watched[0]))
    scene.asked += traffic.asked
    storage = await Storage.open(load({"DATABASE_URL": database.url}))
    try:
        kept, led = await _kept(storage, scene), await leaders(storage)
    finally:
        await storage.close()
    state = await scene.state()
    return Outage(
        kind=kind,
        asked=traffic.asked,
        gone_s=gone_s,
        back_s=back_s,
        flipped=traffic.flips(gone_s),
        obeyed=obeyed,
        ready=(ready[0], ready[1], ready[2]),
        ready_s=ready_s,
        followed_s=followed_s,
        kept=kept,
        leaders=led,
        state=state,
    )


async def _kept(storage: Storage, scene: Scene) -> Counted:
    """What the database has when nothing comes any more; it is written behind the responses."""
    end_s = time.monotonic() + WRITTEN_LIMIT_S
    while True:
        await asyncio.sleep(WRITTEN_S)
        found = await counted(storage, scene.asked)
        if found.stored == found.counted == found.given or time.monotonic() > end_s:
            return found


async def _obeyed(scene: Scene, watched: Sequence[Line]) -> Obeyed:
    by_file, by_rest, by_veto = FORBIDDEN
    file_s = await _spent(
        lambda: scene.kill_file.write_text(f"{by_file}\n"), watched, lambda on: not on[by_file]
    )
    began_s = time.monotonic()
    await scene.kill(watched[0], by_rest)
    await _spent(lambda: None, watched, lambda on: not on[by_rest])
    rest_s = time.monotonic() - began_s
    veto = f"FEATURE_{by_veto.upper()}=false\n"
    veto_s = await _spent(
        lambda: scene.env_file.write_text(veto), watched, lambda on: not on[by_veto]
    )
    return Obeyed(file_s, rest_s, veto_s)


async def _spent(
    deed: Callable[[], object], watched: Sequence[Line], good: Callable[[dict[str, bool]], bool]
) -> float:
    """Seconds from a deed until every worker decides by it."""
    deed()
    began_s = time.monotonic()
    for line in watched:
        while not good(await Scene.flags(line)):
            if time.monotonic() - began_s > FOLLOW_LIMIT_S:
                raise RuntimeError(f"worker {line.pid} did not follow")
            await asyncio.sleep(0.01)
    return time.monotonic() - began_s


async def _followed(scene: Scene, watched: Sequence[Line]) -> float:
    """Seconds from now until a change is accepted and every worker decides by it."""
    began_s = time.monotonic()
    wanted = scene.turned
    while not await scene.turn(watched[0], on=not wanted):
        if time.monotonic() - began_s > FOLLOW_LIMIT_S:
            raise RuntimeError("no change was accepted any more")
        await asyncio.sleep(0.1)
    await _spent(lambda: None, watched, lambda flags: flags[scene.turning] is not wanted)
    return time.monotonic() - began_s


@contextlib.asynccontextmanager
async def opened(engine: str, home: Path) -> AsyncIterator[Database]:
    """A database of this engine."""
    if engine == "sqlite":
        yield SqliteFile(home)
        return
    async with Postgres.running() as database:
        yield database


async def measure(
    engine: str,
    kinds: Sequence[str] = (),
    *,
    seconds: float,
    workers: int,
    quiet_s: float = QUIET_S,
) -> AsyncGenerator[Outage, None]:
    """Each kind after the other, on one service."""
    with tempfile.TemporaryDirectory(prefix="dtrag-outage-") as made:
        async with (
            opened(engine, Path(made)) as database,
            Scene.running(Path(made), database.url, workers=workers) as scene,
        ):
            for kind in kinds or database.kinds:
                yield await away(scene, database, kind, seconds=seconds, quiet_s=quiet_s)


def report(engine: str, found: Outage) -> None:
    """Print one absence."""
    kept = found.kept
    print(
        f"{engine} {found.kind}: {len(found.asked)} requests, {len(found.failed)} failed, "
        f"{found.flipped} flipped"
    )
    phases = "  ".join(f"{p} {found.p99_ms(p):.0f} ms" for p in ("before", "during", "after"))
    print(f"  p99 {phases}; readyz {found.ready}")
    obeyed = found.obeyed
    print(
        f"  obeyed by all workers: kill by file after {obeyed.file:.2f} s, by REST after "
        f"{obeyed.rest:.2f} s, veto after {obeyed.veto:.2f} s"
    )
    print(
        f"  back: a change in every worker after {found.followed_s:.1f} s; "
        f"answers stored {kept.stored} of {kept.given}, counted {kept.counted}; "
        f"{found.leaders} leader; rollout {found.state}; readyz in {found.ready_s:.1f} s"
    )
    for each in found.failed[:5]:
        print(f"    {each}")


async def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"])
    parser.add_argument("--kind", action="append", default=[])
    asked = parser.parse_args()
    for engine in [asked.engine] if asked.engine else ["sqlite", "postgresql"]:
        measured = measure(engine, asked.kind, seconds=asked.seconds, workers=asked.workers)
        async with contextlib.aclosing(measured) as outages:
            async for found in outages:
                report(engine, found)


if __name__ == "__main__":
    asyncio.run(main())
