"""`dtrag serve`: the HTTP service on loopback, with one or more workers."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from apps.core.settings import Settings

APP = "apps.api.main:app"
DRAIN_S = 30


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; open requests are finished first and the exit code is 0."""
    # uvicorn raises the caught signal again when it has drained; only then is this handler met.
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    if settings.WORKER_PROCESSES > 1:
        _share_metrics(settings.DTRAG_HOME)
    uvicorn.run(
        APP,
        host=settings.API_HOST,
        port=settings.API_PORT,
        workers=settings.WORKER_PROCESSES,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _share_metrics(home: Path) -> None:
    """Let the workers' counters meet in one directory, emptied first."""
    directory = home.resolve() / "metrics"
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.db"):
        old.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
