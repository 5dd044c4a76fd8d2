"""The README's first five minutes, executed block by block against a fresh home."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.service import Service, running

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
# What a reader must see; each pattern belongs to the first block that holds the words.
SEEN = {
    "딥러닝의 주요 개념": r'"grounded":true.*"quote":"[^"]*[가-힣]',
    "machine learning이란": r'"hits":\[\{.*기계 ?학습|머신 ?러닝',
    '"stream": true': r"event: complete",
    "wait=false": r'event: complete.*"run_id":"[^"]*","state":"done"',
    "chess championship of Mars": r'"abstained":true.*"reason":"no_evidence"',
    "green lamp": r'"answer":"[^"]*tank is full',
    "dtrag doctor": r"ok",
    "dtrag keys create": r"dtr_",
}


def typed(service: Service, block: str, where: Path) -> str:
    """Run a block in bash as a reader would, against this test's own service."""
    here = block.replace("localhost:8000", f"localhost:{service.port}")
    here = here.replace(".venv/bin/dtrag", "dtrag")
    here = here.replace("curl -s", "curl --retry 9 --retry-connrefused -f -s")
    here = here.replace("dtrag ingest docs", f"dtrag ingest {ROOT / 'docs'}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", here],
        cwd=where,
        env={**service.env, "DTRAG_KEY": service.key},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (here, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as `make run` starts it."""
    with running(tmp_path_factory.mktemp("readme"), command="quickstart") as started:
        yield started
        assert started.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:50])
def test_what_the_readme_says_can_be_typed(block: str, service: Service, tmp_path: Path) -> None:
    """Each block ends with success and shows what its reader expects."""
    if block.startswith("make "):
        target = block.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.M)
        return
    output = typed(service, block, tmp_path)
    for words, pattern in SEEN.items():
        if words in block:
            assert re.search(pattern, output, re.S), output
