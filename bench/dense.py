"""How many of the exact leaders the first look along few axes keeps.

Usage: python -m bench.dense HOME QUESTIONS.jsonl [QUESTIONS.jsonl ...] [--json]

HOME holds a published index with vectors of the embedder that is installed; a question file is
JSON lines `{"type": "question", "question": …}`, of which the first 100 are asked.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import apps.core.one_thread  # noqa: F401 - before anything that imports numpy

# isort: split
from apps.core.artifacts import manifest as manifests
from apps.core.artifacts import rows, vectors, versions
from apps.core.llm.embed import embedder
from apps.core.retrieval import centres, dense
from apps.core.retrieval.loops import Loops
from apps.core.text import language

LEADERS = 10
CANDIDATES = 60
MOST_QUESTIONS = 100


def asked(path: Path) -> list[str]:
    """The questions of a file."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row["question"] for row in found if row["type"] == "question"][:MOST_QUESTIONS]


def opened(root: Path) -> dense.DenseLeg:
    """The dense leg of the served version."""
    version = versions.latest(root)
    if version is None:
        raise SystemExit(f"{root} has no published index.")
    directory = root / version
    columns = rows.open_rows(directory, version).columns
    matrix = vectors.open_matrix(directory, version)
    loops = Loops()
    loops.load()
    means = manifests.read(directory).means
    leg = dense.open_leg(matrix, columns["language"], means, loops=loops)
    if leg is None or leg.coarse is None:
        raise SystemExit("The index is too small for a first look.")
    return leg


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("questions", type=Path, nargs="+")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = embedder("auto")
    if model is None:
        raise SystemExit("No embedder is installed.")
    quick = opened(options.home / "artifacts")
    exact = replace(quick, coarse=None)
    means = centres.load(model)
    texts = [text for path in options.questions for text in asked(path)]
    kept = {LEADERS: 0.0, CANDIDATES: 0.0}
    for text in texts:
        question = means.question(model.queries([text])[0], language.detect(text))
        for size in kept:
            one = quick.search(question, allowed=None, limit=size).rows
            other = exact.search(question, allowed=None, limit=size).rows
            kept[size] += len(set(one) & set(other)) / len(other) / len(texts)
    report = {f"kept_of_{size}": round(share, 4) for size, share in kept.items()}
    report |= {"questions": len(texts), "passages": len(quick.scale)}
    print(
        json.dumps(report) if options.json else "\n".join(f"{k:14} {v}" for k, v in report.items())
    )


if __name__ == "__main__":
    main()
