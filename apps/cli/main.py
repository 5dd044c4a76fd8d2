"""`dtrag`: what an operator types. Each command lives in a file of its own."""

from __future__ import annotations

import apps.core.one_thread  # noqa: F401 - before anything that imports numpy

# isort: split
from typing import Annotated

import typer

from apps.cli import (
    ask,
    documents,
    evaluate,
    experiment,
    flags,
    jobs,
    keys,
    rollout,
    rollout_moves,
)
from apps.cli.output import told_plainly, tolerate
from apps.core.settings import load
from apps.core.telemetry import logs
from apps.core.text import pii

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="An answer service for your own documents, in Korean and English.",
)
app.add_typer(keys.app, name="keys")
app.add_typer(jobs.app, name="jobs")
app.add_typer(evaluate.app, name="eval")
app.add_typer(flags.app, name="flags")
app.add_typer(rollout.app, name="rollout")
rollout_moves.add_to(rollout.app)
app.add_typer(experiment.app, name="experiment")
app.command()(ask.search)
app.command()(ask.answer)
app.command()(documents.ingest)


@app.callback()
def quiet() -> None:
    """Leave stdout to the command's own words: the log goes to stderr, and only what matters."""
    tolerate()
    logs.configure("WARNING", json=False, mask=pii.mask)


@app.command()
@told_plainly()
def quickstart(
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Prepare only.")] = False,
) -> None:
    """Migrate, load the sample into an empty index, make the first key, and serve."""
    from apps.cli.quickstart import prepare  # noqa: PLC0415 - keeps `--help` quick
    from apps.cli.serve import check_place  # noqa: PLC0415
    from apps.cli.serve import serve as serve_until_stopped  # noqa: PLC0415

    if not no_serve:
        check_place(load())
    settings = prepare()
    if not no_serve:
        serve_until_stopped(settings)


@app.command()
@told_plainly()
def serve(
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port.")] = None,
) -> None:
    """Serve HTTP; SIGTERM finishes open requests and exits with 0."""
    from apps.cli.serve import serve as serve_until_stopped  # noqa: PLC0415

    wishes = {"WORKER_PROCESSES": workers, "API_HOST": host, "API_PORT": port}
    given = {name: value for name, value in wishes.items() if value is not None}
    serve_until_stopped(load(None, **given))


@app.command()
@told_plainly()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check everything that the service needs; each failure names the command that mends it."""
    from apps.cli.doctor import examine  # noqa: PLC0415

    if not examine(json=json):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; the entry point `dtrag`."""
    app(prog_name="dtrag")


if __name__ == "__main__":
    main()
