"""Fit the decision to abstain and say how good it is on files it was not fitted on.

    python -m bench.abstention [--data FOLDER] [--embedder e5 --vectors FOLDER] [CORPUS ...]

A corpus is PASSAGES:QUESTIONS, file names of FOLDER without `.jsonl`, several joined by `+`;
`sample` is our own sample corpus. Without corpora those of `CORPORA` are taken. Each question is
asked of the whole index, and again of one without its gold passages ("removed"). A row of the
table is a file of questions whose figures come from coefficients that were fitted on all other
files; the coefficients that are printed are fitted on everything.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

import numpy as np

from apps.core.domain.models import Language
from apps.core.domain.ports import Embedder
from apps.core.llm.embed import embedder as named
from apps.core.llm.evidence import Evidence
from apps.core.llm.kept import kept
from apps.orchestration.abstention import SIGNS, STRANGE_THRESHOLD
from bench.logistic import Floats, fitted, probabilities
from bench.sample_set import write
from bench.servers import ROOT
from bench.unanswerable import Corpus, Kind, Observation, observe

CORPORA = (
    "korquad1.dev:korquad1.dev",
    "allganize-ko.corpus+ko-distractors.corpus:allganize-ko.dev+semantic-ko.dev+unanswerable.dev",
    "xquad-en.dev:xquad-en.dev",
    "xquad-en.dev+multihop-en.dev:xquad-en.dev+multihop-en.dev+unanswerable.dev",
    "sample:sample",
)
LIMIT = 300
# A kind of question from one file counts as much as from any other file, if it has so many.
FULL_GROUP = 40
THRESHOLDS = np.arange(0.1, 1.01, 0.01)
# The goal is .70; a little more, because questions that nobody has seen are not as kind.
RECALL = 0.74


@dataclass(frozen=True, slots=True)
class Table:
    """Observations as numbers, one row each."""

    seen: Sequence[Observation]
    rows: Floats
    labels: Floats
    weights: Floats

    @classmethod
    def of(cls, seen: Sequence[Observation], *, dense: bool) -> Table:
        """Keep the settled ones."""
        kept = [one for one in seen if one.settled]
        groups = Counter((one.corpus, one.file, one.kind) for one in kept)
        sizes = [groups[one.corpus, one.file, one.kind] for one in kept]
        signs = [[*SIGNS(one.evidence), *([one.dense] if dense else [])] for one in kept]
        return cls(
            kept,
            np.array(signs, dtype=float),
            np.array([one.kind == "answerable" for one in kept], dtype=float),
            np.array([min(1.0, size / FULL_GROUP) / size for size in sizes]),
        )

    def fit(self, where: np.ndarray | slice = slice(None)) -> Floats:
        """Coefficients from some of the rows."""
        return fitted(self.rows[where], self.labels[where], self.weights[where])

    def held_out(self) -> Floats:
        """For each row the probability from coefficients that never saw its file of questions.

        It is 0 where only a very sure answer is given and this one is not.
        """
        files = np.array([one.file for one in self.seen])
        result = np.zeros(len(files))
        for file in sorted(set(files)):
            mine = files == file
            result[mine] = probabilities(self.rows[mine], self.fit(~mine))
        strange = np.array([one.strange for one in self.seen])
        return np.where(strange & (result < STRANGE_THRESHOLD), 0.0, result)

    def threshold(self, found: Floats, language: Language) -> float:
        """The least at which recall over all questions reaches its goal.

        Above it only precision is lost: a good answer withheld is worse than a weak one that
        shows its source.
        """
        spoken = np.array([one.language == language for one in self.seen])
        unanswered = found[spoken & (self.labels == 0)]
        recalls = ((unanswered < least).mean() for least in THRESHOLDS)
        return float(THRESHOLDS[[recall >= RECALL for recall in recalls].index(True)])


def corpora(specs: Sequence[str], folder: Path, sample: Path) -> Iterator[Corpus]:
    """The files that specifications name."""
    for spec in specs:
        halves = [
            tuple(
                sample if name == "sample" else folder / f"{name}.jsonl" for name in half.split("+")
            )
            for half in spec.split(":")
        ]
        if all(path.exists() for half in halves for path in half):
            yield Corpus(*halves)


def report(table: Table, *, dense: bool) -> None:
    """Print a line a file, a threshold a language, and the coefficients."""
    found = table.held_out()
    for language in get_args(Language):
        threshold = table.threshold(found, language)
        spoken = np.array([one.language == language for one in table.seen])
        for corpus, file in sorted({(one.corpus, one.file) for one in table.seen}):
            mine = np.array([(one.corpus, one.file) == (corpus, file) for one in table.seen])
            if (mine & spoken).any():
                _line(f"{language} {file} of {corpus}", table, found < threshold, mine & spoken)
        _line(f"{language} all", table, found < threshold, spoken)
        print(f"threshold of {language}: {threshold:.2f}")
    bias, *slopes = (round(float(value), 2) for value in table.fit())
    names = [field.name for field in fields(Evidence)]
    signs = ", ".join(f"{name}={value}" for name, value in zip(names, slopes, strict=False))
    print(f"Weights({bias}, Evidence({signs}){f', dense={slopes[-1]}' if dense else ''})")


def _line(name: str, table: Table, abstains: np.ndarray, chosen: np.ndarray) -> None:
    """Print precision and recall of abstaining on some rows, and the counts behind them."""
    kinds = np.array([one.kind for one in table.seen])
    counts = {
        kind: (
            int((abstains & chosen & (kinds == kind)).sum()),
            int((chosen & (kinds == kind)).sum()),
        )
        for kind in get_args(Kind)
    }
    right, wanted = (counts["removed"][at] + counts["unanswerable"][at] for at in (0, 1))
    total = right + counts["answerable"][0]
    precision = f"{right / total:.3f}" if total else "  -  "
    recall = f"{right / wanted:.3f}" if wanted else "  -  "
    told = "  ".join(f"{kind} {some}/{n}" for kind, (some, n) in counts.items() if n)
    print(f"{name:80} P {precision} R {recall}  abstained: {told}")


async def observed(
    specs: Sequence[str], folder: Path, embedder: Embedder | None, *, limit: int
) -> list[Observation]:
    """Ask every corpus; with vectors when there is an embedder."""
    with tempfile.TemporaryDirectory(prefix="dtrag-sample-") as made:
        sample = Path(made) / "sample.jsonl"
        write(sample)
        return [
            one
            for corpus in corpora(specs, folder, sample)
            async for one in observe(corpus, embedder, limit=limit)
        ]


def main() -> None:
    """Print the table and the coefficients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", default=CORPORA)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--embedder", help="search with vectors too, for their coefficients")
    parser.add_argument("--vectors", type=Path, help="keeps the vectors between runs")
    parser.add_argument("--limit", type=int, default=LIMIT, help="questions of each file")
    options = parser.parse_args()
    model = kept(named(options.embedder), options.vectors) if options.embedder else None
    seen = asyncio.run(observed(options.corpora, options.data, model, limit=options.limit))
    print(f"{len(seen)} answers, {'with ' + model.id if model else 'lexical'}")
    mine = [one for one in seen if not one.foreign]
    report(Table.of(mine, dense=model is not None), dense=model is not None)


if __name__ == "__main__":
    main()
