"""Other processes of a test: they wait for a word, then do their work at the same time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRELUDE = """
import asyncio, os, signal, sys
from apps.core import settings
from apps.core.storage.engine import Storage

def run(main):
    async def opened():
        storage = await Storage.open(settings.load({}, DATABASE_URL=sys.argv[1]))
        try:
            await main(storage, *sys.argv[2:])
        finally:
            await storage.close()
    asyncio.run(opened())
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs `code` after `PRELUDE`."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-W", "error", "-c", PRELUDE + code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def race(code: str, each: Sequence[Sequence[str]]) -> list[str]:
    """What the processes print; each reads one line first, so all are ready before one begins."""
    racing = [start(code, *arguments) for arguments in each]
    for process in racing:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    with ThreadPoolExecutor(len(racing)) as pool:
        said = list(pool.map(lambda process: process.communicate("go\n", timeout=60), racing))
    assert [error for _, error in said] == [""] * len(racing)
    return [printed.strip() for printed, _ in said]
