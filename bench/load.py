"""A small keep-alive load generator: raw sockets, so that it costs less than what it measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

READ_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """What one run saw; latencies in milliseconds."""

    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p95_ms: float

    @property
    def per_second(self) -> float:
        """Successful requests a second."""
        return (self.requests - self.failed) / self.seconds


def encode(path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return one HTTP/1.1 POST request as bytes."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def drive(port: int, requests: Sequence[bytes], *, seconds: float, connections: int) -> Load:
    """Send `requests` in turn over `connections` keep-alive connections for `seconds`."""
    latencies: list[float] = []
    failures: list[int] = []
    end = time.perf_counter() + seconds
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for lane in range(connections):
            own = [*requests[lane::connections]]
            group.create_task(_lane(port, own, end=end, latencies=latencies, failures=failures))
    elapsed = time.perf_counter() - began
    ordered = sorted(latencies) or [0.0]
    return Load(
        requests=len(latencies),
        failed=len(failures),
        seconds=elapsed,
        p50_ms=1e3 * ordered[len(ordered) // 2],
        p95_ms=1e3 * ordered[int(len(ordered) * 0.95)],
    )


async def _lane(
    port: int,
    requests: Sequence[bytes],
    *,
    end: float,
    latencies: list[float],
    failures: list[int],
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=READ_LIMIT)
    place = 0
    while (began := time.perf_counter()) < end:
        writer.write(requests[place % len(requests)])
        status = await _response(reader)
        latencies.append(time.perf_counter() - began)
        if status != 200:
            failures.append(status)
        place += 1
    writer.close()


async def _response(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    place = lower.index(b"content-length:") + len(b"content-length:")
    length = int(lower[place : lower.index(b"\r\n", place)])
    await reader.readexactly(length)
    return int(head[9:12])
