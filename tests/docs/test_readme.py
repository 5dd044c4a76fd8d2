"""The README's first five minutes, executed block by block against a fresh home."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
START_LIMIT_S = 120
# What a reader must see; each pattern belongs to the first block that holds the words.
SEEN = {
    "딥러닝의 주요 개념": r'"grounded":true.*"quote":"[^"]*[가-힣]',
    "machine learning이란": r'"hits":\[\{.*기계 ?학습|머신 ?러닝',
    '"stream": true': r"event: complete",
    "chess championship of Mars": r'"abstained":true.*"reason":"no_evidence"',
    "green lamp": r'"answer":"[^"]*tank is full',
    "dtrag doctor": r"ok",
    "dtrag keys create": r"dtr_",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """A service started as `make run` starts it."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DTRAG_HOME": str(home / "var"),
            "API_PORT": str(self.port),
        }
        self.log = home / "serve.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                ["dtrag", "quickstart"], cwd=ROOT, env=self.env, stdout=out, stderr=out
            )
        self.env["DTRAG_KEY"] = self.printed(r"(dtr_[A-Za-z0-9_-]{20,})")
        self.printed(r"curl")

    def printed(self, pattern: str) -> str:
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(pattern, self.log.read_text("utf-8"))
            if found:
                return found[0]
            time.sleep(0.1)
        raise AssertionError(self.log.read_text("utf-8"))

    def run(self, block: str, where: Path) -> str:
        here = block.replace("localhost:8000", f"localhost:{self.port}")
        here = here.replace(".venv/bin/dtrag", "dtrag").replace(
            "curl -s", "curl -f -s --retry 9 --retry-connrefused"
        )
        here = here.replace("dtrag ingest docs", f"dtrag ingest {ROOT / 'docs'}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here],
            cwd=where,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (here, done.stdout, done.stderr)
        return done.stdout

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("readme"))
    yield made
    assert made.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:50])
def test_what_the_readme_says_can_be_typed(block: str, service: Service, tmp_path: Path) -> None:
    """Each block ends with success and shows what its reader expects."""
    if block.startswith("make "):
        target = block.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.M)
        return
    output = service.run(block, tmp_path)
    for words, pattern in SEEN.items():
        if words in block:
            assert re.search(pattern, output, re.S), output
