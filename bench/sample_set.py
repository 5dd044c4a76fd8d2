"""The sample corpus as passages and questions in one file, for `dtrag eval`.

    python -m bench.sample_set FILE.jsonl

The documents are read and cut as the product does it; the gold of a question are all passages
of its documents.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from apps.core.settings import load
from apps.ingestion.items import NewItem, meta_from
from apps.ingestion.parse import Parser
from apps.ingestion.pipeline import ChunkSize, Origin, prepare

SAMPLE = files("apps.ingestion") / "sample"


def rows() -> Iterator[dict[str, object]]:
    """Every passage, then every question."""
    settings = load()
    size = ChunkSize(settings.DTRAG_CHUNK_TOKENS, settings.DTRAG_CHUNK_OVERLAP)
    cut: dict[str, list[str]] = {}
    with closing(Parser()) as parser:
        for entry in _lines("catalogue.jsonl"):
            ids = cut.setdefault(str(entry["id"]), [])
            for row in _passages(entry, parser, size):
                ids.append(str(row["id"]))
                yield row
    for question in _lines("questions.jsonl"):
        yield {
            **question,
            "gold": [one for gold in _strings(question["gold"]) for one in cut[gold]],
        }


def write(file: Path) -> None:
    """Write every row on a line of `file`."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows()]
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
    return [json.loads(line) for line in (SAMPLE / name).read_text(encoding="utf-8").splitlines()]


def _strings(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    write(parser.parse_args().file)


if __name__ == "__main__":
    main()
