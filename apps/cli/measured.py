"""The whole pipeline over a throw-away index, for `dtrag eval answers`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from apps.cli.ask import not_recorded
from apps.cli.output import Told
from apps.core.domain.ports import Embedder
from apps.core.retrieval.search import Search
from apps.core.settings import Settings
from apps.core.text.gold import read_passages, read_questions
from apps.core.wiring import SystemClock, open_cache, search_options
from apps.ingestion.quality import publish_all
from apps.orchestration.evaluation import AnswerReport, evaluate_answers
from apps.orchestration.reranking import open_reranker
from apps.orchestration.wiring import open_pipeline


def measured_answers(
    settings: Settings,
    passages: Sequence[Path],
    questions: Sequence[Path],
    embedder: Embedder | None,
    told: Told,
) -> AnswerReport:
    """Ask every question of the files; passages and questions may stand in the same file."""
    gold = read_questions(questions)
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="dtrag-answers-") as directory:
        root = Path(directory)
        publish_all(root, read_passages(passages), embedder, progress=told)
        search = Search(
            root,
            embedder=embedder,
            options=search_options(settings, hybrid=True),
            reranker=open_reranker(settings, clock=clock),
        )
        search.refresh()
        pipeline = open_pipeline(
            settings,
            search=search,
            cache=open_cache(settings, clock=clock),
            record=not_recorded,
            clock=clock,
        )
        return asyncio.run(
            evaluate_answers(gold, search=search, answer=pipeline.answer, clock=clock)
        )
