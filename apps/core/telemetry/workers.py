"""How several worker processes share their figures; used by the process that starts them."""

from __future__ import annotations

import os
from pathlib import Path


def share_metrics(directory: Path) -> None:
    """Let workers that start from now on write their figures into `directory`, emptied first.

    Call it before `metrics` is imported: prometheus_client chooses its storage at import.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.glob("*.db"):
        left.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


def forget_worker(pid: int) -> None:
    """Drop the live gauges of a worker that has ended; its counters stay."""
    # Imported late: see `share_metrics`.
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    # The library leaves this one function without annotations.
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
