"""Kept connections to each worker of a service: the kernel gives a connection to one of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from bench.load import READ_LIMIT, encode
from bench.servers import START_LIMIT_S

AT_ONCE = 8
ATTEMPTS = 200
EFFECTIVE = "x-dtrag-flags-effective"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def flags(self) -> dict[str, bool]:
        """What every flag was decided to be."""
        pairs = (each.partition("=") for each in self.headers.get(EFFECTIVE, "").split(";"))
        return {key: value == "on" for key, _, value in pairs if key}

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Line:
    """One connection, which always leads to the same worker."""

    def __init__(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._port = port
        self._reader = reader
        self._writer = writer
        self._one_at_a_time = asyncio.Lock()
        self.pid = 0

    @classmethod
    async def open(cls, port: int) -> Line:
        """Connect, and ask which worker took it."""
        line = cls(port, *await asyncio.open_connection("127.0.0.1", port, limit=READ_LIMIT))
        line.pid = int((await line.ask(get("/healthz"))).json()["pid"])
        return line

    async def ask(self, request: bytes) -> Reply:
        """Send a request and read its whole answer."""
        async with self._one_at_a_time:
            try:
                return await self._asked(request)
            except asyncio.IncompleteReadError as error:
                if error.partial or not self.pid:
                    raise
            # The server closes what was silent for five seconds, and this machine may stall.
            await self._reopen()
            return await self._asked(request)

    async def _reopen(self) -> None:
        """Reach the same worker again.

        Raises:
            RuntimeError: it is gone.
        """
        for _ in range(ATTEMPTS):
            other = await Line.open(self._port)
            if other.pid == self.pid:
                self._reader, self._writer = other._reader, other._writer
                return
            await other.close()
        raise RuntimeError(f"worker {self.pid} is gone")

    async def _asked(self, request: bytes) -> Reply:
        self._writer.write(request)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Reply(int(lines[0].split()[1]), headers, body)

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def lines(port: int, *, workers: int, each: int = 1) -> dict[int, list[Line]]:
    """`each` connections to each of `workers`, by process id.

    Raises:
        RuntimeError: a worker takes none.
    """
    found: dict[int, list[Line]] = {}
    end_s = time.monotonic() + START_LIMIT_S
    while len(found) < workers or any(len(mine) < each for mine in found.values()):
        if time.monotonic() > end_s:
            raise RuntimeError(f"{len(found)} of {workers} workers took connections")
        for line in await asyncio.gather(*(Line.open(port) for _ in range(AT_ONCE))):
            mine = found.setdefault(line.pid, [])
            if len(mine) < each:
                mine.append(line)
            else:
                await line.close()
        # What waits is closed after five seconds.
        await asyncio.gather(
            *(line.ask(get("/healthz")) for mine in found.values() for line in mine)
        )
    return found


def get(path: str, **headers: str) -> bytes:
    """One GET request as bytes; `_` in a header's name is written `-`."""
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{named}\r\n".encode()


def post(path: str, body: object, *headers: tuple[str, str], method: str = "POST") -> bytes:
    """One request with a JSON body as bytes."""
    request = encode(path, json.dumps(body).encode(), headers)
    return method.encode() + request.removeprefix(b"POST")
