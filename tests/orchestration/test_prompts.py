"""The files of prompts: checked when they are loaded, rendered as in the snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from apps.core.domain.models import Language
from apps.core.errors import SystemFailure
from apps.core.llm.models import Message
from apps.orchestration.choosing import WORDINGS
from apps.orchestration.fencing import fenced
from apps.orchestration.prompts import FINGERPRINT, TEMPLATES, load, message, prompt
from apps.orchestration.writing import NO_ANSWER
from tests.fakes.answering import BRIDGE, SEOUL

SNAPSHOTS = Path(__file__).parent / "snapshots"
MARKER = "0123456789abcdef"
SAID = ["compose.answer", "compose.answer_brief", "compose.summary", "compose.keypoints"]
HEAD = "For: x\nFields: {}\nUntrusted: {}\n---\n"


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_prompt_reads_as_in_its_snapshot(name: str, language: Language) -> None:
    """What a model is told is reviewed as text; delete the file to take the new one."""
    messages = prompt(
        name,
        language,
        question="서울의 인구는?" if language == "ko" else "How long is the bridge?",
        passages=fenced((SEOUL, BRIDGE), MARKER),
        marker=MARKER,
    )
    compare(f"{name}.{language}", messages)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_reranker_reads_as_in_its_snapshot(language: Language) -> None:
    """The same for the prompt that a search uses."""
    messages = prompt(
        "retrieve.reranker",
        language,
        question="서울의 인구는?" if language == "ko" else "How long is the bridge?",
        passages=fenced((SEOUL, BRIDGE), MARKER, most_chars=20),
        marker=MARKER,
        count="2",
    )
    compare(f"retrieve.reranker.{language}", messages)


def compare(name: str, messages: Sequence[Message]) -> None:
    """Hold a prompt to its snapshot, or write the snapshot."""
    text = "\n\n".join(f"=== {role}\n{body}" for role, body in messages) + "\n"
    path = SNAPSHOTS / f"{name}.txt"
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{path.name} was missing and has been written; read it.")
    assert path.read_text(encoding="utf-8") == text


def test_the_fixed_sentences_are_the_promised_ones() -> None:
    """Clients compare with these."""
    assert message("cite.no_evidence", "ko") == "제공된 문서에서 답을 찾지 못했습니다."
    assert message("cite.no_evidence", "en") == "The provided documents do not contain the answer."


def test_every_writer_knows_the_word_for_no_answer() -> None:
    """The word that the code listens for stands in each prompt that may lead to it."""
    writers = [one for (name, _), one in TEMPLATES.items() if one.system and "compose" in name]
    assert len(writers) == 2 * len(SAID)
    assert all(NO_ANSWER in one.system for one in writers)


def test_a_wording_takes_what_the_ordinary_one_takes() -> None:
    """An operator may choose any of them, in both languages, and no other prompt."""
    assert set(WORDINGS) == {"answer", "answer_brief"}
    ordinary = TEMPLATES["compose.answer", "en"]
    for word in WORDINGS:
        for language in ("ko", "en"):
            found = TEMPLATES[f"compose.{word}", language]
            assert (found.fields, bool(found.system)) == (ordinary.fields, True)


def test_a_value_is_never_read_as_a_field() -> None:
    """A question with braces stays as it is."""
    _, human = prompt(
        "compose.answer", "en", question="{passages}", passages="[1] {marker}", marker=MARKER
    )
    assert "{passages}" in human[1]
    assert "[1] {marker}" in human[1]


def test_missing_and_unknown_values_are_refused() -> None:
    """Whoever fills a prompt gives exactly its fields."""
    with pytest.raises(SystemFailure, match="wants"):
        message("cite.no_evidence", "en", extra="x")
    with pytest.raises(SystemFailure, match="wants"):
        prompt("compose.answer", "en", question="x")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.b.ko.md": "no head"}, "must begin with"),
        ({"a.ko.md": HEAD.format("", "") + "x"}, "not named"),
        ({"a.b.ko.md": HEAD.format("", "") + "{x}"}, "do not match"),
        ({"a.b.ko.md": HEAD.format("x", "") + "no field"}, "do not match"),
        ({"a.b.ko.md": HEAD.format("", "") + "x"}, "needs"),
        (
            {"a.b.ko.md": HEAD.format("x", "") + "{x}", "a.b.en.md": HEAD.format("", "") + "y"},
            "same fields",
        ),
        (
            {"a.b.ko.md": HEAD.format("", "q") + "[system]\n{q}\n[human]\n{q}"},
            "into the system part",
        ),
    ],
    ids=["head", "name", "unknown", "unused", "language", "fields", "system"],
)
def test_a_bad_file_stops_the_program(tmp_path: Path, files: dict[str, str], says: str) -> None:
    """Each mistake is found when the files are loaded, and named."""
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(SystemFailure, match=says):
        load(tmp_path)


def test_a_changed_word_changes_the_fingerprint(tmp_path: Path) -> None:
    """Two wordings are never taken for one."""
    prints = []
    for word in ("one", "two"):
        for language in ("ko", "en"):
            text = HEAD.format("", "") + word
            (tmp_path / f"a.b.{language}.md").write_text(text, encoding="utf-8")
        prints.append(load(tmp_path)["a.b", "ko"].fingerprint)
    assert len({*prints, FINGERPRINT}) == 3
