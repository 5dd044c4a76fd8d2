"""Questions whose answers are known, and the passages to look for them in, as JSON lines.

    {"type": "passage", "id", "text", "title"?}
    {"type": "question", "question", "qid"?, "answers"?: [], "gold"?: [passage ids], "answerable"?}

Rows of both types may stand in one file; each reader skips what is not its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from apps.core.domain.models import Passage
from apps.core.errors import Unprocessable
from apps.core.text import language

# Greetings and attacks have right answers that are neither an answer nor an abstention.
NOT_ASKING = frozenset({"smalltalk", "refuse"})


@dataclass(frozen=True, slots=True)
class GoldQuestion:
    """A question, the strings any of which is right, and the ids of the passages that hold them."""

    qid: str
    question: str
    answers: tuple[str, ...] = ()
    gold: frozenset[str] = frozenset()
    answerable: bool = True


def read_passages(files: Iterable[Path]) -> list[Passage]:
    """Every passage of the files as one chunk of its own document.

    Raises:
        Unprocessable: a line is not JSON, or a passage lacks its id or text.
    """
    found: dict[str, Passage] = {}
    for row in _rows(files, "passage", required=("id", "text")):
        text, doc_id = str(row["text"]), str(row["id"])
        found[doc_id] = Passage(
            chunk_id=f"{doc_id}#0",
            doc_id=doc_id,
            title=str(row.get("title") or ""),
            text=text,
            start=0,
            end=len(text),
            language=language.detect(text),
        )
    return list(found.values())


def read_questions(files: Iterable[Path]) -> list[GoldQuestion]:
    """Every question of the files; greetings and attacks are left out.

    Raises:
        Unprocessable: a line is not JSON, or a question lacks its text.
    """
    return [
        GoldQuestion(
            qid=str(row.get("qid") or number),
            question=str(row["question"]),
            answers=_strings(row.get("answers")),
            gold=frozenset(_strings(row.get("gold"))),
            answerable=row.get("answerable") is not False,
        )
        for number, row in enumerate(_rows(files, "question", required=("question",)), start=1)
        if row.get("expect") not in NOT_ASKING
    ]


def _rows(
    files: Iterable[Path], kind: str, *, required: tuple[str, ...]
) -> Iterator[dict[str, object]]:
    for path in files:
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                raise Unprocessable(f"{path.name} line {number} is not JSON.") from None
            if not isinstance(row, dict) or row.get("type") != kind:
                continue
            for name in required:
                if name not in row:
                    raise Unprocessable(f"{path.name} line {number} has no {name!r}.")
            yield row


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
