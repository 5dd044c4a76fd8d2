"""Questions with and without an answer in the index, and what the answerer finds for each."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from apps.core.domain.models import Language, Passage, SearchQuery, SearchResult
from apps.core.domain.ports import Embedder
from apps.core.llm.evidence import Evidence
from apps.core.llm.extractive import extract, render
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.core.text.gold import GoldQuestion, read_passages, read_questions
from apps.core.text.language import detect
from apps.ingestion.quality import publish_all
from apps.orchestration.abstention import is_strange
from apps.orchestration.evaluation import contains

Kind = Literal["answerable", "removed", "unanswerable"]
# The gold passages of one part at a time are left out of the index.
PARTS = 5
SEED = 7
TOP_K = 5


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files of passages that make one index, and files of questions to ask it."""

    passages: tuple[Path, ...]
    questions: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The names of the passage files."""
        return "+".join(path.stem for path in self.passages)


@dataclass(frozen=True, slots=True)
class Observation:
    """One question asked.

    kind: `removed` is a question whose gold passages were left out of the index.
    settled: an answerable question whose passage was found, or one of the others whose answer
        was not found in another passage: only here one decision is right.
    dense: best centred cosine, 0 without vectors.
    strange: whether only a very sure answer is given (see `apps.orchestration.abstention`).
    """

    corpus: str
    file: str
    kind: Kind
    language: Language
    settled: bool
    foreign: bool
    evidence: Evidence
    dense: float
    strange: bool


async def observe(
    corpus: Corpus, embedder: Embedder | None, *, limit: int
) -> AsyncIterator[Observation]:
    """Ask at most `limit` questions of each file, of the languages that the corpus has."""
    passages = read_passages(corpus.passages)
    known = {passage.doc_id for passage in passages}
    for file in corpus.questions:
        questions = [one for one in read_questions([file]) if one.gold <= known]
        if embedder is None:
            spoken = _languages(passages)
            questions = [one for one in questions if detect(one.question) in spoken]
        random.Random(SEED).shuffle(questions)
        for part, gone in _parts(questions[:limit]):
            left = [passage for passage in passages if passage.doc_id not in gone]
            with tempfile.TemporaryDirectory(prefix="dtrag-abstention-") as folder:
                publish_all(Path(folder), left, embedder)
                search = Search(Path(folder), embedder=embedder, options=SearchOptions())
                for one in part:
                    found = await search.search(SearchQuery(one.question, top_k=TOP_K))
                    yield _observed(corpus.name, file.stem, one, found, removed=bool(gone))


def _languages(passages: Sequence[Passage]) -> set[Language]:
    """Those in which at least a tenth of the passages are written."""
    counts = Counter(passage.language for passage in passages)
    return {name for name, count in counts.items() if count >= len(passages) / 10}


def _parts(
    questions: Sequence[GoldQuestion],
) -> Iterator[tuple[Sequence[GoldQuestion], frozenset[str]]]:
    """All questions with the whole index; then each part without its own gold passages."""
    yield questions, frozenset()
    golds = sorted({min(one.gold) for one in questions if one.gold})
    random.Random(SEED).shuffle(golds)
    for number in range(PARTS):
        mine = set(golds[number::PARTS])
        part = [one for one in questions if one.gold and min(one.gold) in mine]
        if part:
            yield part, frozenset().union(*(one.gold for one in part))


def _observed(
    corpus: str, file: str, asked: GoldQuestion, found: SearchResult, *, removed: bool
) -> Observation:
    language = detect(asked.question)
    draft = extract(asked.question, found.hits, language=language)
    kind: Kind = "removed" if removed else "answerable" if asked.answerable else "unanswerable"
    seen = any(hit.passage.doc_id in asked.gold for hit in found.hits)
    lucky = contains(render(draft, "answer"), asked.answers)
    return Observation(
        corpus=corpus,
        file=file,
        kind=kind,
        language=language,
        settled=seen if kind == "answerable" else not lucky,
        foreign=draft.foreign,
        evidence=draft.evidence,
        dense=found.signals.dense_top or 0.0,
        strange=is_strange(draft),
    )
