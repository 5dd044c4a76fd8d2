"""What the command line prints: tables for people, JSON for programs, errors on stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from typing import NoReturn

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from apps.core.errors import DtRagError
from apps.core.settings import SettingsError

console = Console()
errors = Console(stderr=True)
Told = Callable[[int, int], None]


def tolerate() -> None:
    """Print a question mark for a letter that the terminal's encoding lacks, and go on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def machine(value: Mapping[str, object] | Sequence[object]) -> None:
    """Print one JSON value on stdout."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings; None shows as a dash, and only a `Text` has colours.

    Documents and people write what looks like markup, so a plain cell is shown as it is.
    """
    made = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        made.add_row(*(_cell(each) for each in row))
    console.print(made)


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    return Text("-" if value is None else str(value))


@contextlib.contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Told]:
    """Show a bar on a terminal's stderr while the block runs; yields `told(finished, total)`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    unseen = quiet or not errors.is_terminal
    with Progress(
        *columns, TimeRemainingColumn(), console=errors, disable=unseen, transient=True
    ) as bar:
        task = bar.add_task(title, total=None)

        def told(finished: int, total: int) -> None:
            bar.update(task, completed=finished, total=total)

        yield told


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Turn a known failure into one sentence on stderr and exit code 1."""
    try:
        yield
    except (DtRagError, SettingsError) as error:
        _refuse(error.detail if isinstance(error, DtRagError) else str(error))
    except BrokenPipeError:
        raise  # whoever read our words has gone, e.g. `head`; the shell knows
    except OSError as error:
        if error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        _refuse(f"{place}{error.strerror}.")


def _refuse(sentence: str) -> NoReturn:
    # What people typed is in it, and may look like markup.
    errors.print(f"[red]dtrag:[/red] {escape(sentence)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1) from None
