"""The sample corpus is complete, consistent with its questions, and free of private data."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

from apps.core.text import language, pii
from tests.ingestion.sample.reading import READERS, front_matter, text_of

with as_file(files("apps.ingestion.sample")) as directory:
    ROOT = directory
DOCUMENTS = sorted((ROOT / "documents").iterdir())
MAX_BYTES = 60_000
SHOW_MASKING = {"manual-ko-privacy", "manual-en-privacy"}
QUESTION_KEYS = {"type", "qid", "question", "answers", "gold", "answerable", "lang", "kind"}
# How many questions of a kind there are at least; the rest are simple questions.
AT_LEAST = {"unanswerable": 12, "multi-hop": 8, "contradiction": 4, "cross-lingual": 6}
SECRETS = re.compile(
    r"dtr_\w{8}|AIza\w{20}|\bsk-\w{16}|\bgh[pousr]_\w{20}|BEGIN [A-Z ]*KEY|\beyJ\w{10}"
)
EMAIL = re.compile(r"[\w.+-]+@([\w-]+\.[\w.-]+)", re.ASCII)


def rows_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / name).read_text("utf-8").splitlines()]


CATALOGUE = rows_of("catalogue.jsonl")
QUESTIONS = rows_of("questions.jsonl")


@cache
def folded(doc_id: str) -> str:
    path = next(path for path in DOCUMENTS if path.stem == doc_id)
    return fold(text_of(path))


def fold(text: str) -> str:
    return " ".join(text.split())


def name_of(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_document_is_of_its_format(path: Path) -> None:
    """Each file opens in the format that its name declares and holds a page of text."""
    assert len(text_of(path)) > 600


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_document_is_small(path: Path) -> None:
    """No file makes the package heavy."""
    assert path.stat().st_size <= MAX_BYTES


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_only_the_masking_pages_hold_personal_data(path: Path) -> None:
    """The product's own masks find nothing, but on the two pages that show them."""
    _, counts = pii.mask_counted(text_of(path))
    assert bool(counts) is (path.stem in SHOW_MASKING)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_no_document_holds_a_key_or_a_real_address(path: Path) -> None:
    """Nothing looks like a secret; e-mail and web addresses are reserved for examples."""
    text = text_of(path)
    assert SECRETS.search(text) is None
    assert {host.rstrip(".") for host in EMAIL.findall(text)} <= {"example.com"}
    assert re.search(r"https?://(?!\w+\.example\.org)", text) is None


def test_there_are_enough_documents_in_every_format() -> None:
    """At least 55 documents, and no format is missing."""
    formats = Counter(path.suffix for path in DOCUMENTS)
    assert formats.total() >= 55
    assert formats.keys() == READERS.keys()


def test_the_catalogue_lists_every_file_once() -> None:
    """Each file has one row, and its id is unique."""
    assert [row["file"] for row in CATALOGUE] == [path.name for path in DOCUMENTS]
    assert len({row["id"] for row in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row["id"])
def test_a_catalogue_row_describes_its_file(row: dict[str, Any]) -> None:
    """Id, language, licence, date and address are those of the file."""
    assert row["id"] == Path(row["file"]).stem
    assert row["language"] == language.detect(folded(row["id"]))
    assert row["license"] == "CC0-1.0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
    assert re.match(r"https://\w+\.example\.org/", row["source_url"])
    assert row["title"]
    assert row["tags"]
    assert row["category"]


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if p.suffix == ".md"], ids=name_of)
def test_front_matter_equals_the_catalogue(path: Path) -> None:
    """What a Markdown file says of itself is what the catalogue says."""
    row = next(row for row in CATALOGUE if row["file"] == path.name)
    assert {"file": path.name, **front_matter(path)} == row


def test_languages_are_balanced() -> None:
    """Neither language has more than 60 % of the documents or of the questions."""
    for languages in (
        Counter(row["language"] for row in CATALOGUE),
        Counter(row["lang"] for row in QUESTIONS),
    ):
        assert languages.keys() == {"ko", "en"}
        assert max(languages.values()) <= 0.6 * languages.total()


def test_there_are_enough_questions_of_every_hard_kind() -> None:
    """At least 80 questions, among them the kinds on which services fail."""
    kinds = Counter(row["kind"] for row in QUESTIONS)
    assert kinds.total() >= 80
    assert not {kind for kind, number in AT_LEAST.items() if kinds[kind] < number}


@pytest.mark.parametrize("row", QUESTIONS, ids=lambda row: row["qid"])
def test_a_question_is_well_formed(row: dict[str, Any]) -> None:
    """A question names documents that exist, and has answers exactly if it is answerable."""
    assert row.keys() == QUESTION_KEYS
    assert set(row["gold"]) <= {entry["id"] for entry in CATALOGUE}
    assert row["answerable"] is bool(row["gold"]) is bool(row["answers"])
    assert row["answerable"] is (row["kind"] not in {"unanswerable", "smalltalk"})


@pytest.mark.parametrize("row", QUESTIONS, ids=lambda row: row["qid"])
def test_an_answer_stands_in_a_gold_document(row: dict[str, Any]) -> None:
    """Each answer is an exact piece of the masked text of a gold document."""
    for answer in row["answers"]:
        assert any(fold(answer) in pii.mask(folded(doc_id)) for doc_id in row["gold"]), answer


def test_a_cross_lingual_question_needs_the_other_language() -> None:
    """Its gold documents are all in the language that the question is not in."""
    languages = {row["id"]: row["language"] for row in CATALOGUE}
    for row in QUESTIONS:
        other = all(languages[doc_id] != row["lang"] for doc_id in row["gold"])
        assert (row["kind"] == "cross-lingual") is (other and row["answerable"]), row["qid"]


def test_hard_questions_need_two_documents() -> None:
    """A multi-hop or contradictory question names at least two gold documents."""
    for row in QUESTIONS:
        if row["kind"] in {"multi-hop", "contradiction"}:
            assert len(row["gold"]) >= 2, row["qid"]


def test_contradictory_answers_come_from_different_documents() -> None:
    """Each of the two values stands in its own document and not in the other."""
    for row in QUESTIONS:
        if row["kind"] == "contradiction":
            newer, older = row["gold"]
            in_force, former = row["answers"]
            assert in_force in folded(newer), row["qid"]
            assert former in folded(older), row["qid"]
            assert in_force not in folded(older), row["qid"]


def test_question_ids_and_questions_are_unique() -> None:
    """No question is asked twice."""
    for key in ("qid", "question"):
        assert len({row[key] for row in QUESTIONS}) == len(QUESTIONS)


def test_every_document_is_asked_about() -> None:
    """A document that no question needs would be ballast."""
    assert {doc_id for row in QUESTIONS for doc_id in row["gold"]} == {r["id"] for r in CATALOGUE}
