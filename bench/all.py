"""Every measurement of docs/measurements.md, one after another.

Usage: python -m bench.all [--data FOLDER] [--vectors FOLDER] [--only PART]

--data: the public sets; what is absent is skipped.
--vectors: where vectors are kept between runs; without it nothing is measured with vectors,
    because they cost a quarter of a second a passage.
--only: one part of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

from bench.servers import ROOT

KOREAN = ("ko-distractors.corpus", "allganize-ko.corpus")
MIXED = (*KOREAN, "xquad-en.dev", "multihop-en.dev")
# Name of a set: the files of its passages, the file of its questions.
SETS = {
    "korquad1": (("korquad1.dev",), "korquad1.dev"),
    "allganize-ko": (("allganize-ko.corpus",), "allganize-ko.dev"),
    "xquad-en": (("xquad-en.dev",), "xquad-en.dev"),
    "multihop-en": (("multihop-en.dev",), "multihop-en.dev"),
    "cranfield": (("cranfield.corpus",), "cranfield.dev"),
    "semantic-ko": (KOREAN, "semantic-ko.dev"),
    "cross-lingual en-ko": (MIXED, "cross-lingual.dev"),
    "cross-lingual ko-en": (MIXED, "cross-lingual.dev"),
}
ANSWERED = ("korquad1", "xquad-en")
NO_VECTORS = ("cranfield",)


def run(*command: str) -> None:
    """Print a command, then what it prints."""
    print(f"\n$ {' '.join(command)}", flush=True)
    words = [sys.executable, *command[1:]] if command[0] == "python" else [*command]
    subprocess.run(words, cwd=ROOT, check=False)


def evaluate(kind: str, folder: Path, name: str, *more: str) -> None:
    """Measure one public set if it is there."""
    passages, questions = SETS[name]
    files = [folder / f"{file}.jsonl" for file in (*passages, questions)]
    if not all(file.exists() for file in files):
        return
    with tempfile.TemporaryDirectory(prefix="dtrag-bench-") as directory:
        files[-1] = _only(files[-1], name.partition(" ")[2], Path(directory))
        options = [f"--passages={file}" for file in files[:-1]] + [f"--questions={files[-1]}"]
        print(f"\n{name}", end="")
        run("python", "-m", "apps.cli.main", "eval", kind, *options, "--json", *more)


def _only(questions: Path, part: str, directory: Path) -> Path:
    """The questions whose `set` is `part`, in a file of their own; all of them without a part."""
    if not part:
        return questions
    rows = [line for line in questions.read_text("utf-8").splitlines() if line.strip()]
    chosen = directory / f"{part}.jsonl"
    chosen.write_text("\n".join(row for row in rows if orjson.loads(row).get("set") == part))
    return chosen


def sample(*others: str) -> None:
    """Answer the questions of our own sample corpus, or others about it."""
    with tempfile.TemporaryDirectory(prefix="dtrag-sample-") as made:
        file = str(Path(made) / "sample.jsonl")
        run("python", "-m", "bench.sample_set", file, *others)
        files = ["--passages", file, "--questions", file, "--embedder", "none"]
        run("python", "-m", "apps.cli.main", "eval", "answers", *files, "--json")


def main() -> None:
    """Run everything; takes about half an hour on two cores, vectors not counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--only", choices=("speed", "rollout", "outage", "quality", "answers"))
    given = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    run("git", "rev-parse", "--short", "HEAD")
    if given.only in (None, "speed"):
        for name in ("search", "growth", "startup", "graph", "flags", "propagation"):
            run("python", "-m", f"bench.{name}")
    if given.only in (None, "rollout"):
        for name in ("rollout", "experiment"):
            run("python", "-m", f"bench.{name}")
    if given.only in (None, "outage"):
        run("python", "-m", "bench.propagation", "--http")
        run("python", "-m", "bench.outage")
    if given.only in (None, "quality"):
        _quality(given.data, given.vectors)
    if given.only in (None, "answers"):
        _answers(given.data, given.vectors)


def _answers(data: Path, vectors: Path | None) -> None:
    for name in ANSWERED:
        evaluate("answers", data, name, "--embedder", "none")
    sample()
    for typed in ("seen", "unseen"):
        sample("--questions", str(ROOT / "bench" / f"typed_{typed}.jsonl"))
    files = [data / f"{SETS[name][1]}.jsonl" for name in ANSWERED]
    if not all(file.exists() for file in files):
        return
    run("python", "-m", "bench.faithfulness", *map(str, files))
    run("python", "-m", "bench.abstention", "--data", str(data))
    if vectors is not None:
        more = ("--embedder", "e5", "--vectors", str(vectors))
        run("python", "-m", "bench.abstention", "--data", str(data), *more)


def _quality(data: Path, vectors: Path | None) -> None:
    for name in SETS:
        evaluate("quality", data, name, "--mode", "lexical")
        if vectors is not None and name not in NO_VECTORS:
            for mode in ("dense", "hybrid"):
                evaluate("quality", data, name, "--mode", mode, "--vectors", str(vectors))


if __name__ == "__main__":
    main()
