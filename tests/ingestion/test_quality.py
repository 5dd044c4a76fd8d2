"""The quality report counts as the literature does, and its input is checked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from apps.core.errors import Unprocessable
from apps.core.retrieval.options import SearchOptions
from apps.ingestion import quality
from tests.fakes.embedder import HashedEmbedder

ROWS: list[dict[str, object]] = [
    {
        "type": "passage",
        "id": "river",
        "title": "한강",
        "text": "한강은 서울을 지나 황해로 흐른다.",
    },
    {"type": "passage", "id": "bank", "title": "", "text": "한국은행은 기준금리를 결정한다."},
    {"type": "passage", "id": "two words", "title": "", "text": "Photosynthesis in plant cells."},
    {"type": "question", "qid": "q1", "question": "기준금리를 누가 결정하나", "gold": ["bank"]},
    {"type": "question", "qid": "q2", "question": "한강의 위치는", "gold": ["river", "absent"]},
    {"type": "question", "qid": "q3", "question": "photosynthesis", "gold": ["two words"]},
    {"type": "question", "qid": "q4", "question": "없는 문서", "gold": ["absent"]},
    {"type": "question", "qid": "q5", "question": "답이 없다", "answerable": False},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Passages and questions in one file."""
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", encoding="utf-8")
    return path


def test_the_report_has_the_names_of_the_literature(file: Path, tmp_path: Path) -> None:
    """Questions without a known gold passage are skipped, and a half-found one counts half."""
    run = tmp_path / "run.trec"
    report = quality.evaluate([file], [file], run_path=run).as_json()
    assert report["n"] == 3
    assert report["hit@1"] == report["mrr@10"] == 1
    assert report["recall@10"] == pytest.approx(2.5 / 3, abs=1e-3)
    assert report["all@10"] == pytest.approx(2 / 3, abs=1e-3)
    ideal = 1 + 1 / math.log2(3)
    assert report["ndcg@10"] == pytest.approx((2 + 1 / ideal) / 3, abs=1e-3)
    assert report["config"] == {
        "mode": "lexical",
        "embedder": "none",
        "fusion": "convex",
        "dense_weight": SearchOptions().dense_weight,
        "passages": 3,
        "reranker": "none",
    }
    lines = run.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "q1 Q0 bank 1 1.000000 dtrag"
    assert all(len(line.split(" ")) == 6 for line in lines)


@pytest.mark.parametrize("fusion", ["convex", "rrf"])
def test_vectors_and_fusions_can_be_compared(file: Path, fusion: str) -> None:
    """The production search runs with an embedder, in each mode and fusion."""
    options = SearchOptions(fusion=fusion)  # type: ignore[arg-type]
    report = quality.evaluate([file], [file], embedder=HashedEmbedder(), options=options)
    assert report.config["mode"] == "hybrid"
    assert report.config["embedder"] == "fake:hashed"
    dense = quality.evaluate([file], [file], embedder=HashedEmbedder(), mode="dense")
    assert dense.hit_at_1 > 0.3


def test_ndcg_is_that_of_trec_eval() -> None:
    """Known values: perfect 1, nothing 0, second place of one 1/log2(3)."""
    assert quality.ndcg([True, True, False], 2) == 1
    assert quality.ndcg([False] * 10, 3) == 0
    assert quality.ndcg([False, True], 1) == pytest.approx(1 / math.log2(3))
    assert quality.ndcg([False] * 10 + [True], 1) == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 1 is not JSON"),
        ('{"type": "passage", "id": "a"}', "no 'text'"),
        ('{"type": "question", "qid": "q", "question": "x", "gold": ["a"]}', "No question"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, line: str, reason: str) -> None:
    """A broken line is named with its number, and no question at all is an error."""
    path = tmp_path / "bad.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(Unprocessable, match=reason):
        quality.evaluate([path], [path])


DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the public sets are not here")
def test_english_words_find_their_passage() -> None:
    """Without a model the lexical leg keeps its level on XQuAD (.95 first hits when written)."""
    file = DATA / "xquad-en.dev.jsonl"
    report = quality.evaluate([file], [file])
    assert report.hit_at_1 >= 0.94
    assert report.ndcg >= 0.97
