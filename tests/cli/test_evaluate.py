"""`dtrag eval`: figures that another tool can check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Typed, body
from tests.fakes.rerank import FakeRerankServer, last_first

ROWS = [
    {"type": "passage", "id": "a", "title": "Lamps", "text": "The red lamp means stop."},
    {"type": "passage", "id": "b", "title": "Doors", "text": "The blue door leads to the sea."},
    {"type": "question", "qid": "q1", "question": "What does the red lamp mean?",
     "answers": ["stop"], "gold": ["a"]},
    {"type": "question", "qid": "q2", "question": "Where does the blue door lead?",
     "answers": ["sea"], "gold": ["b"]},
    {"type": "question", "qid": "q3", "question": "Who painted the moon of Jupiter?",
     "answers": [], "gold": [], "answerable": False},
]  # fmt: skip


def written(directory: Path) -> str:
    path = directory / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return str(path)


def test_quality_prints_the_promised_keys_and_a_run(dtrag: Typed, tmp_path: Path) -> None:
    """Two easy questions are found first, and the run file holds them in TREC's format."""
    data, run = written(tmp_path), tmp_path / "run.trec"
    report = body(
        dtrag("eval", "quality", "--passages", data, "--questions", data, "--run", str(run),
              "--json")
    )  # fmt: skip
    assert set(report) == {
        "n", "recall@10", "ndcg@10", "mrr@10", "hit@1", "all@10", "latency_ms", "config",
        "degraded",
    }  # fmt: skip
    assert (report["n"], report["hit@1"]) == (2, 1.0)
    first = run.read_text().splitlines()[0].split()
    assert first[:4] == ["q1", "Q0", "a", "1"]


def test_answers_prints_the_promised_keys(dtrag: Typed, tmp_path: Path) -> None:
    """Known answers are given, the unknown one is refused, nothing is invented."""
    data = written(tmp_path)
    report = body(dtrag("eval", "answers", "--passages", data, "--questions", data, "--json"))
    assert report["n"] == 3
    assert report["citations_broken"] == 0
    assert report["unsupported_numbers"] == 0
    assert {"contains_gold", "quote_contains_gold", "abstention_precision"} <= set(report)


def test_quality_keeps_no_vectors_when_it_needs_none(dtrag: Typed, tmp_path: Path) -> None:
    """A lexical measurement embeds nothing, so the folder for vectors stays away."""
    data, folder = written(tmp_path), tmp_path / "vectors"
    report = body(
        dtrag("eval", "quality", "--passages", data, "--questions", data, "--mode", "lexical",
              "--vectors", str(folder), "--json")
    )  # fmt: skip
    assert report["config"]["embedder"] == "none"
    assert not folder.exists()


def test_quality_says_who_ranked_once_more(dtrag: Typed, tmp_path: Path) -> None:
    """A server that likes the last passage best turns the order round; a dead one does not."""
    data, run = written(tmp_path), tmp_path / "run.trec"
    files = ("--passages", data, "--questions", data, "--run", str(run))

    def first(**env: str) -> tuple[dict[str, Any], list[str]]:
        report = body(dtrag("eval", "quality", *files, "--json", USE_RERANKER="true", **env))
        places = [line.split() for line in run.read_text().splitlines()]
        return report, [document for _, _, document, place, *_ in places if place == "1"]

    with FakeRerankServer(scores=last_first) as server:
        turned, turned_first = first(DTRAG_RERANKER=server.url)
        assert len(server.calls) == turned["n"] == 2
    assert (turned["config"]["reranker"], turned["degraded"]) == (server.url, 0)
    dead, dead_first = first(DTRAG_RERANKER=server.url)
    assert (dead_first, turned_first) == (["a", "b"], ["b", "a"])
    assert (dead["degraded"], dead["hit@1"], turned["hit@1"]) == (2, 1.0, 0.0)
