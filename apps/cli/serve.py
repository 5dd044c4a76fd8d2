"""`dtrag serve`: the HTTP service, with one or more workers."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from apps.core.settings import Settings
from apps.core.telemetry.workers import share_metrics

APP = "apps.api.main:app"
DRAIN_S = 30


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; open requests are finished first and the exit code is 0."""
    import uvicorn  # noqa: PLC0415 - other commands need no server

    # uvicorn raises the caught signal again when it has drained; only then is this handler met.
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    if settings.WORKER_PROCESSES > 1:
        share_metrics(settings.DTRAG_HOME.resolve() / "metrics")
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
