"""What people and documents wrote is shown as it is, and mistakes end in one sentence."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import typer
from rich.text import Text

from apps.cli.flag_words import attributes
from apps.cli.output import console, errors, table, told_plainly
from apps.core.errors import NotFound, Unprocessable

MARKUP = "[/x] [red]why[/red] [bold]"


def test_a_cell_is_no_markup() -> None:
    """A reason, an owner or a document with brackets neither breaks a table nor is lost."""
    with console.capture() as seen:
        table(["a", "b", "c"], [[MARKUP, None, Text("ok", "green")]])
    assert MARKUP in seen.get()
    assert seen.get().split()[-2:] == ["-", "ok"]


def test_a_sentence_is_no_markup() -> None:
    """What was typed comes back in the sentence."""
    with errors.capture() as seen, pytest.raises(typer.Exit), told_plainly():
        raise NotFound(f"There is no flag '{MARKUP}'.")
    assert seen.get() == f"dtrag: There is no flag '{MARKUP}'.\n"


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """Named, with the reason; a closed pipe, which has no name, is left to the shell."""
    place = tmp_path / "none" / "flags.json"
    with errors.capture() as seen, pytest.raises(typer.Exit), told_plainly():
        place.write_bytes(b"{}")
    assert seen.get() == f"dtrag: {place}: No such file or directory.\n"
    with pytest.raises(BrokenPipeError), told_plainly():
        raise BrokenPipeError
    with errors.capture() as seen, pytest.raises(typer.Exit), told_plainly():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert seen.get() == "dtrag: No space left on device.\n"


def test_attributes_are_read_or_refused() -> None:
    """A forgotten value must not explain the flag for somebody else."""
    assert attributes(["tenant=pilot", "note=a=b", "empty="]) == {
        "tenant": "pilot",
        "note": "a=b",
        "empty": "",
    }
    for wrong in ("tenant", "=pilot", ""):
        with pytest.raises(Unprocessable, match="NAME=VALUE"):
            attributes([wrong])
