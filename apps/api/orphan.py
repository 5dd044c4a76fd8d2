"""A worker whose parent was killed leaves as well, so that no orphan keeps the port."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)


@contextmanager
def leaving_with_parent() -> Iterator[None]:
    """Drain and end when the process that started this one is gone; alone, do nothing."""
    parent = multiprocessing.parent_process()
    if parent is None:
        yield
        return
    loop = asyncio.get_running_loop()
    sentinel = parent.sentinel

    def orphaned() -> None:
        loop.remove_reader(sentinel)
        log.warning("worker.orphaned")
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sentinel, orphaned)
    try:
        yield
    finally:
        loop.remove_reader(sentinel)
