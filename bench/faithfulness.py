"""How many spoiled sentences faithfulness v1 finds, and how many good ones it drops.

    python -m bench.faithfulness FILE.jsonl [...] [--sentences 300] [--seed 11] [--json]

A file holds passages and questions with answers; the sentences that hold an answer are spoiled
in one place each (another number, another name, the opposite) and shown to the verifier with
their own passage.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from apps.core.text.sentences import split
from apps.orchestration.faithfulness import Evidence, judge
from bench.corruptions import HARMLESS, WRONG, Change

LONGEST_NAME = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `dropped_share` is good for wrong sentences and bad for harmless.

    ms_each: processor time of one check.
    """

    file: str
    change: str
    harmless: bool
    n: int
    dropped_share: float
    ms_each: float


@dataclass(frozen=True, slots=True)
class Gold:
    """A sentence with an answer, its passage and the passage's title."""

    sentence: str
    passage: str
    title: str


def gold_sentences(lines: Sequence[dict[str, object]]) -> tuple[list[Gold], list[str]]:
    """The sentences that hold an answer, and the answers that are names rather than phrases."""
    passages = {line["id"]: line for line in lines if line["type"] == "passage"}
    found: dict[str, Gold] = {}
    names: set[str] = set()
    for line in lines:
        answers = [str(one) for one in line.get("answers") or []]  # type: ignore[attr-defined]
        for passage_id in line.get("gold") or []:  # type: ignore[attr-defined]
            passage = passages.get(passage_id)
            if passage is not None:
                for sentence in _holding(str(passage["text"]), answers):
                    text, title = str(passage["text"]), str(passage["title"])
                    found[sentence] = Gold(sentence, text, title)
        names.update(one for one in answers if _is_name(one))
    return list(found.values()), sorted(names)


def measure(file: Path, *, count: int, seed: int) -> Iterator[Row]:
    """Spoil `count` sentences of a file in every way."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    gold, names = gold_sentences(lines)
    random.Random(seed).shuffle(gold)
    for kinds, harmless in ((WRONG, False), (HARMLESS, True)):
        for kind, change in kinds.items():
            yield _row(
                file.name, kind, change, gold, names, count=count, seed=seed, harmless=harmless
            )


def _row(
    file: str,
    kind: str,
    change: Change,
    gold: Sequence[Gold],
    names: Sequence[str],
    *,
    count: int,
    seed: int,
    harmless: bool,
) -> Row:
    rng = random.Random(f"{seed}{kind}")
    dropped, n, spent_s = 0, 0, 0.0
    for one in gold:
        claim = change(one.sentence, names, rng)
        if claim is None or n == count:
            continue
        started = time.process_time()
        dropped += not judge(claim, Evidence(one.passage, one.title)).supported
        spent_s += time.process_time() - started
        n += 1
    return Row(file, kind, harmless, n, dropped / max(1, n), 1000 * spent_s / max(1, n))


def _holding(text: str, answers: Sequence[str]) -> Iterator[str]:
    for start, end in split(text):
        sentence = text[start:end]
        if len(sentence) > LONGEST_NAME and any(answer in sentence for answer in answers):
            yield sentence


def _is_name(answer: str) -> bool:
    if any(char.isdigit() for char in answer) or not 2 <= len(answer) <= LONGEST_NAME:
        return False
    words = answer.split()
    if answer.isascii():
        return len(words) <= 3 and all(word[0].isupper() for word in words)
    return len(words) <= 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--sentences", type=int, default=300)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [
        row
        for file in options.files
        for row in measure(file, count=options.sentences, seed=options.seed)
    ]
    if options.json:
        print(json.dumps({"seed": options.seed, "rows": [asdict(row) for row in rows]}))
        return
    print(f"seed {options.seed}")
    for row in rows:
        word = "falsely dropped" if row.harmless else "found"
        figures = f"n {row.n:4d}  {word} {row.dropped_share:.3f}  {row.ms_each:.2f} ms"
        print(f"{row.file:24} {row.change:10} {figures}")


if __name__ == "__main__":
    main()
