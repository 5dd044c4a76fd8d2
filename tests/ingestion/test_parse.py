"""Files are read in a process of their own: what goes wrong there stays there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.core.errors import TooLarge, Unprocessable, UnsupportedOperation
from apps.ingestion.items import NewItem
from apps.ingestion.parse import ROOT, Limits, Parser
from tests.ingestion import files

GOOD = NewItem("a.txt", "한 문장이다.".encode())


@pytest.fixture
def parser() -> Iterator[Parser]:
    opened = Parser(Limits(wall_s=20, cpu_s=2))
    yield opened
    opened.close()


def test_one_process_reads_many_files(parser: Parser) -> None:
    """The worker stays warm between files of several formats."""
    pids = set()
    for item in (GOOD, NewItem("b", files.pdf(["page"])), NewItem("c", files.hwp(["글"]))):
        assert parser.parse(item).documents
        pids.add(parser.pid)
    assert len(pids) == 1


def test_fields_and_format_come_back(parser: Parser) -> None:
    """What a reader found arrives whole."""
    found = parser.parse(NewItem("x.md", "---\ntags: [가]\ndate: 2025-01-02\n---\n# 제목".encode()))
    (document,) = found.documents
    assert (found.format, document.text) == ("md", "제목")
    assert (document.meta.tags, document.meta.date) == (("가",), "2025-01-02")


def test_a_given_format_is_not_questioned(parser: Parser) -> None:
    """A text that is declared `txt` stays as it is, even when it looks like a page."""
    text = "<html><body>글</body></html>"
    (document,) = parser.parse(NewItem("x", text.encode(), format="txt")).documents
    assert document.text == text


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (NewItem("x.png", b"\x89PNG\r\n"), UnsupportedOperation),
        (NewItem("x.txt", b" "), Unprocessable),
        (NewItem("x.docx", files.archive({"word/document.xml": b" " * 20_000_000})), TooLarge),
        (NewItem("x.docx", files.archive({"word/document.xml": "<a/>"})), Unprocessable),
    ],
)
def test_refusals_keep_their_kind(parser: Parser, item: NewItem, kind: type[Exception]) -> None:
    """The error of the worker is the error of the caller, and the worker lives on."""
    parser.parse(GOOD)
    before = parser.pid
    with pytest.raises(kind):
        parser.parse(item)
    assert parser.parse(GOOD).documents
    assert parser.pid == before


def test_a_killed_worker_is_replaced(parser: Parser) -> None:
    """A worker that died between two files costs one of them at most."""
    parser.parse(GOOD)
    before = parser.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    outcome = [_attempt(parser), _attempt(parser)]
    assert outcome[-1] == "한 문장이다."
    assert parser.pid != before


def _attempt(parser: Parser) -> str:
    try:
        return parser.parse(GOOD).documents[0].text
    except Unprocessable as error:
        return error.detail


# Each takes the place of a reader in the worker, as a broken parser library would.
CRASHES = {
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "crashed",
    "while True: pass": "processor time",
    "import time; time.sleep(60)": "took longer",
    "x = [bytes(10**8) for _ in range(100)]": "memory",
    "raise KeyError('broken')": "KeyError",
}


@pytest.mark.parametrize(("fault", "reason"), CRASHES.items())
def test_a_parser_that_fails_costs_its_own_file_only(
    fault: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crash, endless loop, hang, hunger and exception: a reason, then the next file is read."""
    (tmp_path / "sitecustomize.py").write_text(
        "import apps.ingestion.readers.txt as txt\n"
        "from apps.ingestion.readers.reader import Reader\n"
        "good = txt.read\n"
        "def read(content):\n"
        "    if b'poison' in content:\n"
        f"        {fault}\n"
        "    return good(content)\n"
        "txt.READER = Reader('txt', read)\n"
    )
    monkeypatch.setattr("apps.ingestion.parse.ROOT", f"{tmp_path}{os.pathsep}{ROOT}")
    # Only the hang may meet the limit of time that passes, however busy the machine is.
    wall_s = 4 if "sleep" in fault else 60
    parser = Parser(Limits(wall_s=wall_s, cpu_s=1, memory_bytes=1_500_000_000))
    try:
        with pytest.raises(Unprocessable, match=reason):
            parser.parse(NewItem("x.txt", b"poison"))
        assert parser.parse(GOOD).documents[0].text == "한 문장이다."
    finally:
        parser.close()


def test_the_worker_knows_no_secret_of_ours_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its environment is empty of ours, and its temporary directory goes with it."""
    monkeypatch.setenv("SECRET_KEY", "not for parsers")
    parser = Parser()
    parser.parse(GOOD)
    values = dict(
        line.split("=", 1)
        for line in Path(f"/proc/{parser.pid}/environ").read_text().split("\0")
        if line
    )
    parser.close()
    assert set(values) == {"PYTHONPATH", "PYTHONUTF8", "TMPDIR"}
    assert not Path(values["TMPDIR"]).exists()


def test_the_service_does_not_load_the_parsers() -> None:
    """Parser libraries are imported by the worker only; the service starts without them."""
    code = (
        "import sys, apps.ingestion.parse\n"
        "heavy = {'docx', 'pypdfium2', 'selectolax', 'hwp_hwpx_parser', 'lxml'}\n"
        "sys.exit(len(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
