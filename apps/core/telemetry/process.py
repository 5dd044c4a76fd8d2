"""What the operating system knows of this process; `None` where it does not tell."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, Metric

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
OWN_MEMORY = Path("/proc/self/statm")


def page_faults() -> int:
    """Page faults since the start that had to wait for the disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def resident_bytes() -> int:
    """Memory that the process holds now; its peak where the system has no /proc."""
    try:
        pages = int(OWN_MEMORY.read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def out_of_memory_kills(own: Path = OWN_CGROUP, root: Path = CGROUPS) -> int | None:
    """Processes of this container that the kernel killed for memory; None when it is unknown."""
    try:
        unified = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
        events = (root / unified[3:].lstrip("/") / "memory.events").read_text()
    except (OSError, StopIteration):
        return None
    counts = dict(line.split() for line in events.splitlines())
    return int(counts["oom_kill"]) if "oom_kill" in counts else None


class OutOfMemory:
    """The counter `process_oom_total`; absent where the kernel does not tell."""

    def collect(self) -> Iterator[Metric]:
        """Yield one counter, or nothing."""
        kills = out_of_memory_kills()
        if kills is not None:
            yield CounterMetricFamily("process_oom", "Processes killed for memory.", value=kills)

    def describe(self) -> Iterator[Metric]:
        """Yield the name, so that no other metric may take it."""
        yield CounterMetricFamily("process_oom", "Processes killed for memory.")
