"""Starting and stopping the servers that a bench compares; loopback only."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

START_LIMIT_S = 120.0
ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """Return a loopback port that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, *, env: Mapping[str, str] | None = None, log: Path
) -> Iterator[int]:
    """Run `command` until the block ends; yields its process id once the port answers."""
    with log.open("w") as out:
        process = subprocess.Popen(
            list(command), cwd=ROOT, env={**os.environ, **(env or {})}, stdout=out, stderr=out
        )
    try:
        wait_for_port(port, process)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when something listens on `port`.

    Raises:
        RuntimeError: the process ended, or two minutes passed.
    """
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise RuntimeError("the server did not open its port")


def wait_for_ok(url: str) -> None:
    """Return when `url` answers 200; the server is up but may still be loading."""
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(url, timeout=2) as reply,
        ):
            if reply.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not become ready")


def uvicorn_command(app: str, port: int, *, python: str = sys.executable) -> list[str]:
    """Serve `app` with one worker and without an access log."""
    return [
        python, "-m", "uvicorn", app, "--host", "127.0.0.1",
        "--port", str(port), "--log-level", "warning", "--no-access-log",
    ]  # fmt: skip
