"""A command line with a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def dtrag(home: Path) -> Typed:
    """Run `dtrag WORDS…` in `home`, without the embedder unless `env` says otherwise."""

    def typed(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DTRAG", "FEATURE"))}
        own = {"DTRAG_HOME": str(home / "var"), "DTRAG_EMBEDDER": "none", "COLUMNS": "160"}
        return subprocess.run(
            [sys.executable, "-m", "apps.cli.main", *words],
            cwd=ROOT,
            env={**clean, **own, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return typed


def body(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a successful command printed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
