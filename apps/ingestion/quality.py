"""How well the production search finds known answers: gold questions to a quality report."""

from __future__ import annotations

import asyncio
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apps.core.domain.models import Passage, SearchMode, SearchQuery
from apps.core.domain.ports import Embedder, FloatArray, Reranker
from apps.core.errors import Unprocessable
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.core.text.gold import GoldQuestion, read_passages, read_questions
from apps.core.text.titles import with_title
from apps.ingestion import build

Progress = Callable[[int, int], None]
DEPTH = 10
EMBED_BATCH = 16
RUN_NAME = "dtrag"


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Means over `n` questions, with binary relevance and ten places looked at.

    hit_at_1: first place is gold. recall: share of the gold passages that were found.
    all_at_10: share of the questions for which every gold passage was found.
    latency_ms: median time of one search, without embedding the question.
    degraded: questions for which a leg or the reranker failed.
    """

    n: int
    recall: float
    ndcg: float
    mrr: float
    hit_at_1: float
    all_at_10: float
    latency_ms: float
    degraded: int
    config: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The report under the names of the literature."""
        return {
            "n": self.n,
            "recall@10": round(self.recall, 4),
            "ndcg@10": round(self.ndcg, 4),
            "mrr@10": round(self.mrr, 4),
            "hit@1": round(self.hit_at_1, 4),
            "all@10": round(self.all_at_10, 4),
            "latency_ms": round(self.latency_ms, 3),
            "degraded": self.degraded,
            "config": dict(self.config),
        }


def evaluate(
    passage_files: Sequence[Path],
    question_files: Sequence[Path],
    *,
    mode: SearchMode | None = None,
    embedder: Embedder | None = None,
    options: SearchOptions | None = None,
    reranker: Reranker | None = None,
    run_path: Path | None = None,
    progress: Progress = lambda _finished, _total: None,
) -> QualityReport:
    """Publish the passages into a temporary index, ask every question, and compare.

    Args:
        passage_files: JSON lines; rows of another type than `passage` are skipped.
        question_files: JSON lines; rows of another type than `question` are skipped, and so
            are questions none of whose gold passages is in the index.
        mode: as in a search; None means hybrid when there is an embedder.
        embedder: None searches lexically.
        options: how to search.
        reranker: ranks once more when the options say so.
        run_path: where to write a TREC run, `qid Q0 docid rank score dtrag`.
        progress: hears how many passages of how many are embedded.

    Raises:
        Unprocessable: a line is not JSON, lacks a field, or no question is left.
    """
    chosen = options or SearchOptions()
    passages = read_passages(passage_files)
    questions = _asked(question_files, known={passage.doc_id for passage in passages})
    with tempfile.TemporaryDirectory(prefix="dtrag-quality-") as directory:
        root = Path(directory)
        publish_all(root, passages, embedder, progress=progress)
        search = Search(root, embedder=embedder, options=chosen, reranker=reranker)
        asked = asyncio.run(_ask(search, questions, mode))
    if run_path is not None:
        run_path.write_text("".join(_trec(questions, asked.runs)), encoding="utf-8")
    config = _config(chosen, mode, embedder, len(passages))
    ranked_by = reranker.id if reranker and chosen.rerank else "none"
    return _report(questions, asked, {**config, "reranker": ranked_by})


def _config(
    options: SearchOptions, mode: SearchMode | None, embedder: Embedder | None, passages: int
) -> dict[str, object]:
    return {
        "mode": mode or ("hybrid" if embedder else "lexical"),
        "embedder": embedder.id if embedder else "none",
        "fusion": options.fusion,
        "dense_weight": options.dense_weight,
        "passages": passages,
    }


def _asked(files: Sequence[Path], *, known: set[str]) -> list[GoldQuestion]:
    kept = [question for question in read_questions(files) if question.gold & known]
    if not kept:
        raise Unprocessable("No question has a gold passage among the passages.")
    return kept


def publish_all(
    root: Path,
    passages: Sequence[Passage],
    embedder: Embedder | None,
    *,
    progress: Progress = lambda _finished, _total: None,
) -> None:
    """Publish passages with their vectors; a passage is embedded with its title before it."""
    rows = [build.IndexRow(passage, None) for passage in passages]
    if embedder is not None:
        texts = [with_title(passage.title, passage.text) for passage in passages]
        vectors: list[FloatArray] = []
        for start in range(0, len(texts), EMBED_BATCH):
            vectors.extend(embedder.passages(texts[start : start + EMBED_BATCH]))
            progress(len(vectors), len(texts))
        rows = [
            build.IndexRow(row.passage, vector) for row, vector in zip(rows, vectors, strict=True)
        ]
    build.publish(
        root, added=rows, embedder_id=embedder.id if embedder else None, full=True, now=time.time()
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What was found for each question, document and score, and how the searches went."""

    runs: list[list[tuple[str, float]]]
    latency_ms: float
    degraded: int


async def _ask(search: Search, questions: Sequence[GoldQuestion], mode: SearchMode | None) -> Asked:
    runs: list[list[tuple[str, float]]] = []
    durations_ms: list[float] = []
    degraded = 0
    for question in questions:
        # Asked twice with another number of hits, so that the second time the question's vector
        # is known and the result is not.
        await search.search(SearchQuery(question.question, top_k=1, mode=mode, rerank=False))
        start = time.perf_counter()
        result = await search.search(SearchQuery(question.question, top_k=DEPTH, mode=mode))
        durations_ms.append(1000 * (time.perf_counter() - start))
        degraded += bool(result.degraded)
        runs.append([(hit.passage.doc_id, hit.score) for hit in result.hits])
    return Asked(runs, statistics.median(durations_ms), degraded)


def _trec(
    questions: Sequence[GoldQuestion], runs: Sequence[Sequence[tuple[str, float]]]
) -> Iterable[str]:
    for question, run in zip(questions, runs, strict=True):
        for place, (doc_id, score) in enumerate(run, start=1):
            # A run is split at white space, which a document id may hold.
            name = doc_id.replace(" ", "_")
            yield f"{question.qid} Q0 {name} {place} {score:.6f} {RUN_NAME}\n"


def _report(
    questions: Sequence[GoldQuestion], asked: Asked, config: Mapping[str, object]
) -> QualityReport:
    relevant = [
        [doc_id in question.gold for doc_id, _ in run]
        for question, run in zip(questions, asked.runs, strict=True)
    ]
    sizes = [len(question.gold) for question in questions]
    pairs = list(zip(relevant, sizes, strict=True))
    return QualityReport(
        n=len(questions),
        recall=_mean(sum(found) / size for found, size in pairs),
        ndcg=_mean(ndcg(found, size) for found, size in pairs),
        mrr=_mean(1 / (found.index(True) + 1) if True in found else 0.0 for found in relevant),
        hit_at_1=_mean(float(found[:1] == [True]) for found in relevant),
        all_at_10=_mean(float(sum(found) == size) for found, size in pairs),
        latency_ms=asked.latency_ms,
        degraded=asked.degraded,
        config=config,
    )


def ndcg(relevant: Sequence[bool], gold: int) -> float:
    """Discounted gain of a ranking over that of the ideal one, binary relevance, ten places.

    Source: Jarvelin, Kekalainen 2002, "Cumulated gain-based evaluation of IR techniques",
    ACM TOIS 20(4); logarithm of base 2, as trec_eval.
    """
    gain = sum(1 / math.log2(place + 1) for place, hit in enumerate(relevant[:DEPTH], 1) if hit)
    return gain / sum(1 / math.log2(place + 1) for place in range(1, min(gold, DEPTH) + 1))


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)
