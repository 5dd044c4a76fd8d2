"""A real service in processes of its own, started and ended by a test."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from bench.servers import free_port

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 120.0
KEY = re.compile(r"dtr_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{20,}")


class Service:
    """`dtrag <command>` with its own home; `start` again after `kill`."""

    def __init__(
        self, home: Path, *, command: str = "serve", env: Mapping[str, str] | None = None
    ) -> None:
        self.home = home
        self.port = free_port()
        self.command = command
        self.log = home / "service.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DTRAG", "FEATURE"))}
        self.env = {
            **clean,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DTRAG_HOME": str(home / "var"),
            "API_PORT": str(self.port),
            **(env or {}),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("a") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "apps.cli.main", self.command],
                cwd=ROOT,
                env=self.env,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.until(lambda: httpx.get(f"{self.url}/readyz").json()["checks"]["answerer"]["ok"])

    def until(self, ready: object, *, limit_s: float = START_LIMIT_S) -> None:
        """Wait for `ready()` to be true; connection errors count as not yet."""
        assert callable(ready)
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            assert self.process.poll() is None, self.output()
            with contextlib.suppress(httpx.HTTPError, KeyError):
                if ready():
                    return
            time.sleep(0.05)
        raise AssertionError(self.output())

    def output(self) -> str:
        return self.log.read_text("utf-8")

    @property
    def key(self) -> str:
        """The administrator's key as it was printed."""
        found = KEY.search(self.output())
        assert found, self.output()
        return found[0]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-API-Key": self.key}, timeout=60)

    def kill(self) -> None:
        """End every process of the service at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def gone(self, *, limit_s: float = 20.0) -> None:
        """Wait until nobody listens on the port any more."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            try:
                httpx.get(f"{self.url}/healthz")
            except httpx.ConnectError:
                return
            except httpx.HTTPError:
                continue
            time.sleep(0.05)
        os.killpg(self.process.pid, signal.SIGKILL)
        raise AssertionError("somebody still answers")

    def stop(self) -> int:
        """Ask it to end; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@contextlib.contextmanager
def running(
    home: Path, *, command: str = "serve", env: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """A started service that is stopped at the end, however the block ends."""
    service = Service(home, command=command, env=env)
    service.start()
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.kill()
