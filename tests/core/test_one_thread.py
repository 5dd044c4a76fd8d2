"""Both programs set the number of algebra threads before numpy can read it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SETTING = "OPENBLAS_NUM_THREADS"
# Stops at the first import of numpy and prints what numpy would have read.
PROBE = """
import builtins, os, sys
plain = builtins.__import__
def watched(name, *rest, **more):
    if name.partition(".")[0] == "numpy" and "numpy" not in sys.modules:
        print(os.environ.get("OPENBLAS_NUM_THREADS"))
        os._exit(0)
    return plain(name, *rest, **more)
builtins.__import__ = watched
import {program}
import numpy
"""


@pytest.mark.parametrize("program", ["apps.api.main", "apps.cli.main"])
@pytest.mark.parametrize(("given", "read"), [(None, "1"), ("3", "3")])
def test_numpy_reads_one_thread_unless_an_operator_says_otherwise(
    program: str, given: str | None, read: str
) -> None:
    """The variable stands when numpy is first imported."""
    environment = {name: value for name, value in os.environ.items() if name != SETTING}
    if given:
        environment[SETTING] = given
    result = subprocess.run(
        [sys.executable, "-c", PROBE.format(program=program)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split()[-1:] == [read], result.stderr
