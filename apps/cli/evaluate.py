"""`dtrag eval`: measure retrieval and answers on questions whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from apps.cli.output import machine, progress, table, told_plainly
from apps.core.domain.models import SearchMode
from apps.core.errors import Unprocessable
from apps.core.settings import load

app = typer.Typer(no_args_is_help=True, help="Measure retrieval and answers on known questions.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Files = Annotated[
    list[Path], typer.Option(exists=True, dir_okay=False, help="JSON lines; may be repeated.")
]
EMBEDDER = typer.Option(help="e5, none, auto, or provider:model.")
VECTORS = typer.Option(file_okay=False, help="Keep vectors in this folder between runs.")


@app.command()
@told_plainly()
def quality(
    passages: Files,
    questions: Files,
    mode: Annotated[str | None, typer.Option(help="hybrid, lexical or dense.")] = None,
    embedder: Annotated[str | None, EMBEDDER] = None,
    run: Annotated[Path | None, typer.Option(help="Write a TREC run to this file.")] = None,
    vectors: Annotated[Path | None, VECTORS] = None,
    json: Json = False,
) -> None:
    """Recall, nDCG and reciprocal rank over a throw-away index of PASSAGES."""
    from apps.core.llm.embed import embedder as named  # noqa: PLC0415 - numpy
    from apps.core.llm.kept import kept  # noqa: PLC0415
    from apps.core.wiring import SystemClock, search_options  # noqa: PLC0415
    from apps.ingestion.quality import evaluate  # noqa: PLC0415
    from apps.orchestration.reranking import open_reranker  # noqa: PLC0415

    settings = load()
    name = "none" if mode == "lexical" else embedder or settings.DTRAG_EMBEDDER
    with progress("Embedding passages", quiet=json) as told:
        report = evaluate(
            passages,
            questions,
            mode=search_mode(mode),
            embedder=kept(named(name), vectors),
            options=search_options(settings, hybrid=True),
            reranker=open_reranker(settings, clock=SystemClock()),
            run_path=run,
            progress=told,
        )
    _print(report.as_json(), json=json)


@app.command()
@told_plainly()
def answers(
    passages: Files,
    questions: Files,
    embedder: Annotated[str | None, EMBEDDER] = None,
    vectors: Annotated[Path | None, VECTORS] = None,
    json: Json = False,
) -> None:
    """Answers, quotes and abstentions of the whole pipeline over a throw-away index."""
    from apps.cli.measured import measured_answers  # noqa: PLC0415 - LangGraph costs seconds
    from apps.core.llm.embed import embedder as named  # noqa: PLC0415
    from apps.core.llm.kept import kept  # noqa: PLC0415

    settings = load()
    with progress("Embedding passages", quiet=json) as told:
        model = kept(named(embedder or settings.DTRAG_EMBEDDER), vectors)
        report = measured_answers(settings, passages, questions, model, told)
    _print(report.as_json(), json=json)


def search_mode(name: str | None) -> SearchMode | None:
    """Check a mode that was typed.

    Raises:
        Unprocessable: it is none.
    """
    if name is not None and name not in get_args(SearchMode):
        raise Unprocessable(f"There is no mode {name!r}; use hybrid, lexical or dense.")
    return cast(SearchMode | None, name)


def _print(report: Mapping[str, object], *, json: bool) -> None:
    if json:
        machine(report)
    else:
        table(["measure", "value"], [[key, value] for key, value in report.items()])
