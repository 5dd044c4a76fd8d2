"""`dtrag serve`: the HTTP service, with one or more workers."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType

from apps.core.errors import Unprocessable
from apps.core.settings import Settings
from apps.core.telemetry.workers import share_metrics

APP = "apps.api.main:app"
DRAIN_S = 30


def check_place(settings: Settings) -> None:
    """See that the server can be reached and can keep what it must, before anything else is done.

    Raises:
        Unprocessable: the address is taken or is none of ours.
        OSError: the home cannot be made.
    """
    host, port = settings.API_HOST, settings.API_PORT
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        refusals = [_refusal(family, address) for family, _, _, _, address in found]
    except OSError as error:
        refusals = [error]
    if all(refusals):
        reason = refusals[0].strerror if refusals[0] else ""
        raise Unprocessable(
            f"Nobody can listen on {host}:{port}: {reason}; set API_HOST or API_PORT."
        )
    if not (settings.DATABASE_URL and settings.ARTIFACTS_DIR and settings.SECRET_KEY):
        settings.DTRAG_HOME.mkdir(parents=True, exist_ok=True)


def _refusal(family: int, address: tuple[object, ...]) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            # As the server does: what is left of one that has just ended is no hindrance.
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        return error
    return None


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; open requests are finished first and the exit code is 0.

    Raises:
        Unprocessable, OSError: see `check_place`.
    """
    import uvicorn  # noqa: PLC0415 - other commands need no server

    check_place(settings)
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
        # What is a little too large is refused with a problem; far beyond it the line is cut.
        ws_max_size=2 * settings.MAX_BODY_BYTES,
    )


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
