"""Where the processor time of one search goes, in this process and without a socket.

Each stage is run alone over the same fresh questions; the last lines are whole searches, so what
the stages leave of them is fusion, hits and signals. Figures are shares of the whole lexical
search, which other work on the machine disturbs less than microseconds.

Usage: python -m bench.search_cost [--passages 10000] [--questions 1500] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apps.core.one_thread  # noqa: F401 - before anything that imports numpy

# isort: split
import numpy as np

from apps.core.artifacts import manifest as manifests
from apps.core.artifacts import vectors, versions
from apps.core.domain.models import SearchQuery
from apps.core.retrieval import dense
from apps.core.retrieval.index import DENSE_CANDIDATES, LEXICAL_CANDIDATES, OpenIndex
from apps.core.retrieval.loops import Loops
from apps.core.retrieval.options import SearchOptions
from apps.core.text import language, pii, tokens
from bench import corpus, index

SEED = 20260922
ROUNDS = 3


def cost_us(stage: Callable[[str], object], questions: list[str]) -> float:
    """Processor microseconds of `stage` a question: the best of three rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for question in questions:
            stage(question)
        rounds.append((time.process_time() - began) / len(questions) * 1e6)
    return min(rounds)


def stages(directory: Path) -> dict[str, Callable[[str], object]]:
    """What is timed, by name."""
    loops = Loops()
    loops.load()
    opened = OpenIndex(directory, SearchOptions(), loops=loops)
    matrix = vectors.open_matrix(directory, directory.name)
    means = manifests.read(directory).means
    near = dense.open_leg(matrix, opened.rows.columns["language"], means, loops=loops)
    drawn = np.random.default_rng(SEED).normal(size=(1, matrix.shape[1]))[0]
    vector = (drawn / np.linalg.norm(drawn)).astype(np.float32)
    found: dict[str, Callable[[str], object]] = {
        "mask": pii.mask,
        "tokens": lambda text: (tokens.bigrams(text), tokens.stems(text)),
        "lexical leg": lambda text: opened.lexical.search(
            text, language=language.detect(text), allowed=None, limit=LEXICAL_CANDIDATES
        ),
        "lexical search": lambda text: opened.rank(
            SearchQuery(text, signals=False), question=None, use_lexical=True
        ),
    }
    if near is not None:
        found["dense leg"] = lambda _: near.search(vector, allowed=None, limit=DENSE_CANDIDATES)
        found["hybrid search"] = lambda text: opened.rank(
            SearchQuery(text, signals=False), question=vector, use_lexical=True
        )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=1500)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    questions = corpus.questions(options.questions, seed=SEED)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        index.build(root, corpus.passages(options.passages, seed=SEED))
        version = versions.latest(root / "artifacts") or ""
        timed = stages(root / "artifacts" / version)
        costs = {key: cost_us(stage, questions) for key, stage in timed.items()}
    shares = {key: round(cost / costs["lexical search"], 3) for key, cost in costs.items()}
    if options.json:
        print(json.dumps({"shares": shares, "lexical_search_us": costs["lexical search"]}))
        return
    for key, share in shares.items():
        print(f"{key:16} {share:6.3f} {costs[key]:8.1f} µs")


if __name__ == "__main__":
    main()
