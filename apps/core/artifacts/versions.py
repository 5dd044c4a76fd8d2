"""Index versions on disk: their names, which one is served, how one replaces another.

A version is a directory `<YYYYMMDD_HHMMSS>[-n]` that never changes after it has its name.
`latest` is a symbolic link to the served one. Whoever changes anything holds `exclusive`.
A directory whose name begins with `.partial-` was left by a killed builder and means nothing.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

LATEST = "latest"
PARTIAL = ".partial-"
NAME = re.compile(r"(\d{8}_\d{6})(?:-(\d+))?\Z")
KEPT_VERSIONS = 3


def order(version: str) -> tuple[str, int]:
    """Sort key: later versions are greater."""
    match = NAME.match(version)
    return (match[1], int(match[2] or 0)) if match else ("", 0)


def versions(root: Path) -> list[str]:
    """Names of the versions under `root`, oldest first."""
    if not root.is_dir():
        return []
    found = [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
    return sorted((name for name in found if NAME.match(name)), key=order)


def latest(root: Path) -> str | None:
    """The version that `latest` names; None before the first publication."""
    try:
        # Every search asks this: pathlib would take four times as long.
        return os.readlink(f"{root}/{LATEST}").rpartition("/")[2]  # noqa: PTH115
    except OSError:
        return None


def next_version(root: Path, now: float) -> str:
    """A name that is later than every version under `root`.

    Args:
        root: where versions live.
        now: seconds since 1970; the clock may have gone back since the last version.
    """
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d_%H%M%S")
    taken = versions(root)
    if not taken or order(taken[-1]) < (stamp, 0):
        return stamp
    last, number = order(taken[-1])
    return f"{last}-{number + 1}"


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold the right to change `root`, across processes; the system frees it on a crash."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def start(root: Path, version: str) -> Path:
    """Make the directory in which `version` is built, aside from everything that is served."""
    for entry in root.glob(f"{PARTIAL}*"):
        shutil.rmtree(entry, ignore_errors=True)
    partial = root / f"{PARTIAL}{version}"
    partial.mkdir()
    return partial


def finish(root: Path, partial: Path) -> str:
    """Make a built directory durable and give it its name; it is not served yet."""
    version = partial.name.removeprefix(PARTIAL)
    for path in [*partial.rglob("*"), partial]:
        flush(path)
    partial.rename(root / version)
    flush(root)
    return version


def switch(root: Path, version: str) -> None:
    """Serve `version`: readers see the old link or the new one, never none.

    Source: rename(2) replaces atomically; unlinking first loses readers in between.
    """
    fresh = root / f".{LATEST}-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(version)
    fresh.replace(root / LATEST)
    flush(root)


def prune(root: Path, keep: int = KEPT_VERSIONS) -> list[str]:
    """Remove all but the newest `keep` versions; the served one always stays."""
    served = latest(root)
    gone = [name for name in versions(root)[:-keep] if name != served]
    for name in gone:
        # Renamed first: a crash in the middle must not leave half a version under its name.
        doomed = root / f"{PARTIAL}{name}"
        (root / name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return gone


def flush(path: Path) -> None:
    """Write a file's or a directory's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
