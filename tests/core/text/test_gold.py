"""Passages and questions are read from JSON lines, and what cannot be read is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.core.errors import Unprocessable
from apps.core.text.gold import GoldQuestion, read_passages, read_questions

ROWS: list[dict[str, object]] = [
    {"type": "passage", "id": "p1", "title": "요금", "text": "요금은 1,000원이다."},
    {"type": "question", "qid": "hi", "question": "안녕?", "expect": "smalltalk"},
    {"type": "question", "qid": "a", "question": "요금은?", "answers": ["1,000원"], "gold": ["p1"]},
    {"type": "question", "question": "날씨는?", "answers": None, "answerable": False},
]


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return path


def test_questions(tmp_path: Path) -> None:
    """Passages and greetings are no questions to be measured; a question may lack an id."""
    file = written(tmp_path / "set.jsonl", [json.dumps(row) for row in ROWS])
    assert read_questions([file]) == [
        GoldQuestion("a", "요금은?", ("1,000원",), frozenset({"p1"})),
        GoldQuestion("3", "날씨는?", answerable=False),
    ]


def test_passages(tmp_path: Path) -> None:
    """Each is a whole document; of two with one id the last counts."""
    again = {**ROWS[0], "text": "The fee is 1,000 won."}
    file = written(tmp_path / "set.jsonl", [json.dumps(row) for row in [*ROWS, again]])
    (passage,) = read_passages([file])
    assert (passage.doc_id, passage.title, passage.language) == ("p1", "요금", "en")
    assert (passage.start, passage.end) == (0, len(passage.text))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "bad.jsonl line 2 is not JSON"),
        ('{"type": "passage", "id": "a"}', "line 2 has no 'text'"),
        ('{"type": "question"}', "line 2 has no 'question'"),
    ],
)
def test_unusable_lines_are_named(tmp_path: Path, line: str, reason: str) -> None:
    """The file and the line tell where to look."""
    file = written(tmp_path / "bad.jsonl", ["[]", line])
    with pytest.raises(Unprocessable, match=reason):
        read_passages([file])
        read_questions([file])
