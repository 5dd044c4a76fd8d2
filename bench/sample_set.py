"""The sample corpus as passages and questions in one file, for `dtrag eval`.

    python -m bench.sample_set FILE.jsonl [--questions bench/typed_seen.jsonl]

The documents are read and cut as the product does it; the gold of a question are all passages
of its documents. `typed_seen.jsonl` and `typed_unseen.jsonl` are questions as people type them:
terse, in other words, with a slip. The answerer was worked on with the first file only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from apps.core.settings import load
from apps.ingestion.items import NewItem, meta_from
from apps.ingestion.parse import Parser
from apps.ingestion.pipeline import ChunkSize, Origin, prepare

SAMPLE = files("apps.ingestion") / "sample"


def rows(questions: Path | None = None) -> Iterator[dict[str, object]]:
    """Every passage, then every question of the sample corpus, or of another file about it."""
    settings = load()
    size = ChunkSize(settings.DTRAG_CHUNK_TOKENS, settings.DTRAG_CHUNK_OVERLAP)
    cut: dict[str, list[str]] = {}
    with closing(Parser()) as parser:
        for entry in _lines("catalogue.jsonl"):
            ids = cut.setdefault(str(entry["id"]), [])
            for row in _passages(entry, parser, size):
                ids.append(str(row["id"]))
                yield row
    for question in _read(questions) if questions else _lines("questions.jsonl"):
        yield {
            **question,
            "gold": [one for gold in _strings(question["gold"]) for one in cut[gold]],
        }


def write(file: Path, *, questions: Path | None = None) -> None:
    """Write every row on a line of `file`."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows(questions)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _passages(
    entry: dict[str, object], parser: Parser, size: ChunkSize
) -> Iterator[dict[str, object]]:
    name = str(entry["file"])
    content = (SAMPLE / "documents" / Path(name).name).read_bytes()
    item = NewItem(name, content, meta_from(entry))
    parsed = parser.parse(item)
    several = len(parsed.documents) > 1
    for part, document in enumerate(parsed.documents, start=1):
        origin = Origin(name, parsed.format, item.meta, part if several else None)
        for passage in prepare(document, origin, size).passages:
            yield {
                "type": "passage",
                "id": passage.chunk_id,
                "title": passage.title,
                "text": passage.text,
            }


def _lines(name: str) -> list[dict[str, object]]:
    return _read(SAMPLE / name)


def _read(file: Path | Traversable) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _strings(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--questions", type=Path, help="instead of the corpus's own")
    given = parser.parse_args()
    write(given.file, questions=given.questions)


if __name__ == "__main__":
    main()
