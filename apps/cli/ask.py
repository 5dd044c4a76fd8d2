"""`dtrag search` and `dtrag answer`: ask the local index without a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, cast, get_args

import typer

from apps.cli.output import console, machine, table, told_plainly
from apps.core.domain.limits import MAX_QUERY_CHARS, MAX_QUESTION_CHARS
from apps.core.domain.models import AnswerMode, AnswerRecord, AnswerRequest, Hit, SearchQuery
from apps.core.errors import Unprocessable
from apps.core.settings import load

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TOP = ("--top", "-k")
SNIPPET = 90


@told_plainly()
def search(
    question: Annotated[str, typer.Argument(help="What to look for.")],
    top: Annotated[int, typer.Option(*TOP, min=1, max=50, help="How many passages.")] = 5,
    mode: Annotated[str | None, typer.Option(help="hybrid, lexical or dense.")] = None,
    json: Json = False,
) -> None:
    """Find passages."""
    from apps.api import render  # noqa: PLC0415 - keeps `--help` quick
    from apps.api.exchange import fresh_id  # noqa: PLC0415
    from apps.cli.evaluate import search_mode  # noqa: PLC0415
    from apps.core.wiring import SystemClock, open_search  # noqa: PLC0415
    from apps.orchestration.reranking import open_reranker  # noqa: PLC0415

    settings = load()
    finder = open_search(settings, reranker=open_reranker(settings, clock=SystemClock()))
    text = _asked(question, MAX_QUERY_CHARS)
    query = SearchQuery(text, top_k=top, mode=search_mode(mode))
    began_s = time.perf_counter()
    result = asyncio.run(finder.search(query))
    if json:
        spent_ms = (time.perf_counter() - began_s) * 1e3
        machine(render.search(result, request_id=fresh_id(), spent_ms=spent_ms))
        return
    _show(result.hits)
    console.print(f"[dim]{result.mode} search in index {result.index_version}[/dim]")


@told_plainly()
def answer(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    mode: Annotated[str, typer.Option(help="answer, summary, keypoints or search.")] = "answer",
    top: Annotated[int, typer.Option(*TOP, min=1, max=20, help="From how many passages.")] = 5,
    json: Json = False,
) -> None:
    """Answer with citations."""
    if mode not in get_args(AnswerMode):
        raise Unprocessable(f"There is no mode {mode!r}; use {', '.join(get_args(AnswerMode))}.")
    text = _asked(question, MAX_QUESTION_CHARS)
    request = AnswerRequest(text, mode=cast(AnswerMode, mode), top_k=top)
    record = asyncio.run(_answered(request))
    if json:
        from apps.api import render  # noqa: PLC0415 - keeps `--help` quick

        machine(render.answer(record))
        return
    if record.mode == "search" and record.hits:
        _show(record.hits)
        return
    console.print(record.answer, markup=False)
    rows = [(f"[{one.index}]", one.title, one.quote.replace("\n", " ")) for one in record.citations]
    if rows:
        console.print()
        table(["", "document", "quote"], rows)
    console.print(f"[dim]confidence {record.confidence:.2f}, served by {record.served_by}[/dim]")


def _asked(question: str, most: int) -> str:
    if not question.strip():
        raise Unprocessable("The question is empty.")
    if len(question) > most:
        raise Unprocessable(f"A question has {most} characters at most, this one {len(question)}.")
    return question


def _show(hits: Sequence[Hit]) -> None:
    rows = [
        (f"{hit.score:.3f}", hit.passage.title, hit.passage.text[:SNIPPET].replace("\n", " "))
        for hit in hits
    ]
    table(["score", "document", "text"], rows)


async def _answered(request: AnswerRequest) -> AnswerRecord:
    from apps.core.wiring import SystemClock, open_cache, open_search  # noqa: PLC0415
    from apps.orchestration.reranking import open_reranker  # noqa: PLC0415
    from apps.orchestration.wiring import open_pipeline  # noqa: PLC0415 - LangGraph costs seconds

    settings, clock = load(), SystemClock()
    search = open_search(settings, reranker=open_reranker(settings, clock=clock))
    search.refresh()
    pipeline = open_pipeline(
        settings,
        search=search,
        cache=open_cache(settings, clock=clock),
        record=not_recorded,
        clock=clock,
    )
    return await pipeline.answer(request)


async def not_recorded(_record: AnswerRecord) -> None:
    """Keep nothing of an answer that was asked for on the command line."""
