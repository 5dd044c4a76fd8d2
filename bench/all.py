"""Every measurement of docs/measurements.md, one after another.

Usage: python -m bench.all [--data FOLDER]   (FOLDER: the public sets; skipped when absent)
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

from bench.servers import ROOT

SETS = {
    "korquad1": ("korquad1.dev.jsonl", "korquad1.dev.jsonl"),
    "allganize-ko": ("allganize-ko.corpus.jsonl", "allganize-ko.dev.jsonl"),
    "xquad-en": ("xquad-en.dev.jsonl", "xquad-en.dev.jsonl"),
    "multihop-en": ("multihop-en.dev.jsonl", "multihop-en.dev.jsonl"),
    "cranfield": ("cranfield.corpus.jsonl", "cranfield.dev.jsonl"),
}
ANSWERED = ("korquad1", "xquad-en")


def run(*command: str) -> None:
    """Print a command, then what it prints."""
    print(f"\n$ {' '.join(command)}", flush=True)
    words = [sys.executable, *command[1:]] if command[0] == "python" else [*command]
    subprocess.run(words, cwd=ROOT, check=False)


def evaluate(kind: str, folder: Path, name: str, *more: str) -> None:
    """Measure one public set if it is there."""
    passages, questions = (folder / file for file in SETS[name])
    if passages.exists() and questions.exists():
        files = ["--passages", str(passages), "--questions", str(questions)]
        run("python", "-m", "apps.cli.main", "eval", kind, *files, "--json", *more)


def main() -> None:
    """Run everything; takes about a quarter of an hour on two cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    folder = parser.parse_args().data
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    run("git", "rev-parse", "--short", "HEAD")
    run("python", "-m", "bench.search")
    run("python", "-m", "bench.startup")
    run("python", "-m", "bench.graph")
    for name in SETS:
        evaluate("quality", folder, name, "--mode", "lexical")
    for name in ANSWERED:
        evaluate("answers", folder, name, "--embedder", "none")


if __name__ == "__main__":
    main()
