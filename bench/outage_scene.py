"""The service of `bench.outage`: its flags, its rollout, and what its database has kept."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select, text

from apps.core.settings import load
from apps.core.storage import migrate
from apps.core.storage.engine import Storage
from apps.core.storage.flag_tables import flag_leader, flag_metric_counter
from apps.core.storage.postgres_leader import ADVISORY_LOCK
from apps.core.storage.tables import answer
from bench.lines import Line, get, post
from bench.outage_traffic import SHARED, Asked
from bench.servers import ROOT, free_port, running, wait_for_ok

SCOPES = "search,answer,feedback,flags:read,flags:write"
ADMIN = "/api/v1/admin"
SETTLE_S = 1.0
# On until the absence: killed by the host's file, killed by REST, vetoed by the host's env file.
FORBIDDEN = ("neural_case_selector", "soft_q_bandit", "tools_policy")


@dataclass(frozen=True, slots=True)
class Counted:
    """Answers that were given, that are stored, and that are counted in the rollout's arms."""

    given: int
    stored: int
    counted: int


@dataclass(slots=True)
class Scene:
    """A running service."""

    port: int
    workers: int
    key: str
    env: dict[str, str]
    place: str = ""
    turned: bool = False
    turning: str = "experience_replay"
    asked: list[Asked] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, home: Path, url: str, *, workers: int) -> AsyncIterator[Scene]:
        """Start it with the sample documents, a flag for half of the users, and a rollout."""
        port = free_port()
        env = _environment(home, url, port=port, workers=workers)
        await asyncio.to_thread(migrate.upgrade, load({"DATABASE_URL": url}).database_url)
        await asyncio.to_thread(dtrag, env, "quickstart", "--no-serve")
        words = ("keys", "create", "--name", "outage", "--scopes", SCOPES, "--json")
        key = json.loads(await asyncio.to_thread(dtrag, env, *words))["api_key"]
        command = [sys.executable, "-m", "apps.cli.main", "serve"]
        with running(command, port, env=env, log=home / "serve.log"):
            await asyncio.to_thread(wait_for_ok, f"http://127.0.0.1:{port}/readyz")
            scene = cls(port, workers, key, env)
            await scene._prepare()
            yield scene

    @property
    def kill_file(self) -> Path:
        """Kills on this host."""
        return Path(self.env["DTRAG_HOME"], "KILL")

    @property
    def env_file(self) -> Path:
        """Vetoes on this host."""
        return Path(self.env["DTRAG_ENV_FILE"])

    async def _prepare(self) -> None:
        line = await Line.open(self.port)
        by_hand, staged = SHARED
        await self._sent(line, "PATCH", f"flags/{by_hand}", {"percent": 50})
        await self._sent(line, "PATCH", f"flags/{self.turning}", {"on": self.turned})
        for key in FORBIDDEN:
            await self._sent(line, "PATCH", f"flags/{key}", {"on": True})
        made = {"flag_key": staged, "stages": [50, 100], "reason": "bench"}
        self.place = f"rollouts/{await self._sent(line, 'POST', 'rollouts', made)}"
        await self._sent(line, "POST", f"{self.place}/start", {"reason": "bench"})
        await line.close()
        # A worker that this machine keeps waiting decides as last known.
        await asyncio.sleep(SETTLE_S)

    async def _sent(self, line: Line, method: str, place: str, body: object) -> object:
        request = post(f"{ADMIN}/{place}", body, ("X-API-Key", self.key), method=method)
        reply = await line.ask(request)
        if reply.status not in (200, 201):
            raise RuntimeError(f"{method} {place}: {reply.status} {reply.body!r}")
        return reply.json().get("id")

    async def turn(self, line: Line, *, on: bool) -> bool:
        """Turn a flag; False when it was refused."""
        body = {"on": on}
        place = f"{ADMIN}/flags/{self.turning}"
        reply = await line.ask(post(place, body, ("X-API-Key", self.key), method="PATCH"))
        if reply.status == 200:
            self.turned = on
        return reply.status == 200

    async def kill(self, line: Line, key: str) -> None:
        """Kill a flag by REST; 202, because only this host can know of it.

        Raises:
            RuntimeError: it was answered otherwise.
        """
        place = f"{ADMIN}/flags/{key}/kill?wait=1"
        reply = await line.ask(post(place, {"reason": "bench"}, ("X-API-Key", self.key)))
        if reply.status != 202 or not reply.json()["local"]:
            raise RuntimeError(f"kill {key}: {reply.status} {reply.body!r}")

    async def ready(self, line: Line) -> int:
        """The status of `/readyz`."""
        return (await line.ask(get("/readyz"))).status

    async def state(self) -> str:
        """Of the rollout."""
        line = await Line.open(self.port)
        reply = await line.ask(get(f"{ADMIN}/{self.place}", X_API_Key=self.key))
        await line.close()
        found = reply.json()
        return f"{found['state']} {found['percent']:g} %"

    @staticmethod
    async def flags(line: Line) -> dict[str, bool]:
        """What a worker decides for somebody."""
        reply = await line.ask(post("/api/v1/search", {"q": "flag"}))
        if reply.status != 200:
            raise RuntimeError(f"{reply.status} {reply.body!r}")
        return reply.flags


def _environment(home: Path, url: str, *, port: int, workers: int) -> dict[str, str]:
    own = ("DTRAG", "FEATURE", "USE_", "DATABASE", "API_", "ENVIRONMENT", "REDIS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    nothing = home / "nothing.env"
    nothing.touch()
    return {
        **clean,
        "DTRAG_HOME": str(home / "var"),
        "DTRAG_ENV_FILE": str(nothing),
        "DTRAG_EMBEDDER": "none",
        "DATABASE_URL": url,
        "API_PORT": str(port),
        "WORKER_PROCESSES": str(workers),
        "ENVIRONMENT": "development",
        "LOG_LEVEL": "WARNING",
        # An answer from the cache meets no node and is not counted in the arms.
        "CACHE_ENTRIES": "0",
    }


def dtrag(env: dict[str, str], *words: str) -> str:
    """What a command prints.

    Raises:
        RuntimeError: it failed; its own words.
    """
    command = [sys.executable, "-m", "apps.cli.main", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"dtrag {' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


async def counted(storage: Storage, asked: Sequence[Asked]) -> Counted:
    """Compare what was answered with what the database has of it."""
    given = [each for each in asked if each.status == 200 and each.kind in ("answer", "once")]
    async with storage.reading() as s:
        kept = (await s.execute(select(func.count()).select_from(answer))).scalar_one()
        met = select(func.sum(flag_metric_counter.c.n)).where(
            flag_metric_counter.c.metric == "error"
        )
        return Counted(len(given), kept, int((await s.execute(met)).scalar() or 0))


async def leaders(storage: Storage) -> int:
    """How many workers lead, by the database's word."""
    async with storage.reading() as s:
        if storage.embedded:
            return len((await s.execute(select(flag_leader.c.holder))).all())
        held = text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND objid = :lock"
        )
        return int((await s.execute(held, {"lock": ADVISORY_LOCK})).scalar_one())
