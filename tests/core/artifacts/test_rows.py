"""Rows come back as they were stored, one at a time, and gaps stay gaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from apps.core.artifacts import rows, vectors
from apps.core.domain.models import Passage, Source

TEXT = st.text(max_size=40)
PASSAGES = st.builds(
    Passage,
    chunk_id=TEXT,
    doc_id=TEXT,
    title=TEXT,
    text=TEXT,
    start=st.integers(0, 9),
    end=st.integers(9, 99),
    language=st.sampled_from(["ko", "en"]),
    tags=st.lists(TEXT, max_size=2).map(tuple),
    category=st.lists(TEXT, max_size=2).map(tuple),
    source=st.builds(Source, title=TEXT, url=st.none() | TEXT, date=st.none() | TEXT),
)


@given(PASSAGES)
def test_a_passage_survives_its_line(passage: Passage) -> None:
    """Every field comes back, and the line is one line."""
    line = rows.encode(passage)
    assert rows.decode(line) == passage
    assert b"\n" not in line


def test_the_meta_file_is_json_with_gaps(tmp_path: Path) -> None:
    """Any JSON reader can open the file; a dead row is null and is not found."""
    alive = Passage("a#0", "a", "", "본문", 0, 2, "ko")
    columns = rows.no_columns()
    for _ in range(2):
        rows.append(columns, alive)
    rows.kill(columns, 0)
    rows.write(tmp_path, "v", [rows.DEAD, rows.encode(alive)], columns)
    meta = json.loads((tmp_path / "meta-v.json").read_text(encoding="utf-8"))
    assert [row and row["text"] for row in meta] == [None, "본문"]
    opened = rows.open_rows(tmp_path, "v")
    assert (len(opened), opened.passage(1), opened.find("a#0")) == (2, alive, alive)
    assert opened.find("b#0") is None


def test_an_empty_version_can_be_opened(tmp_path: Path) -> None:
    """No rows and no vectors are a version too."""
    rows.write(tmp_path, "v", [], rows.no_columns())
    assert len(rows.open_rows(tmp_path, "v")) == 0
    empty = np.zeros((0, 0), np.float32)
    matrix = vectors.write(tmp_path, "v", old=empty, rows=0, new={})
    assert vectors.means(matrix, []) == {}


def test_means_are_of_the_rows_that_have_a_vector(tmp_path: Path) -> None:
    """A row of zeros has no vector and does not pull the mean."""
    new = {0: np.array([1, 0], np.float32), 2: np.array([0, 1], np.float32)}
    old = np.zeros((0, 0), np.float32)
    matrix = vectors.write(tmp_path, "v", old=old, rows=4, new=new)
    assert isinstance(matrix, np.memmap)
    found = vectors.means(matrix, ["ko", "ko", "ko", "en"])
    assert found == {"ko": vectors.LanguageMean(2, (0.5, 0.5))}
