"""Reads files in a limited worker process that is kept warm and replaced when it fails."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from apps.core import errors
from apps.core.errors import SystemFailure, Unprocessable
from apps.ingestion.items import FORMATS, Format, ItemMeta, NewItem, Parsed, meta_from

ROOT = Path(__file__).parents[2]
READY = b"ready"
START_TIMEOUT_S = 60.0
FORMAT_OF: dict[str, Format] = {name: name for name in FORMATS}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost; address space counts mapped libraries too (about 250 MB)."""

    wall_s: float = 120.0
    cpu_s: int = 60
    memory_bytes: int = 2_000_000_000
    text_bytes: int = 200_000_000


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The format that the content has, and the documents in it."""

    format: Format
    documents: tuple[Parsed, ...]


class Parser:
    """One warm worker process; threads take turns. Blocking: call it in a thread."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._turn = threading.Lock()
        self._worker: _Worker | None = None

    def parse(self, item: NewItem) -> ParsedFile:
        """Read `item`; a crash or an overrun of its parser costs this item only.

        Raises:
            UnsupportedOperation: no reader for it, or it is locked.
            TooLarge: an archive over its limits.
            Unprocessable: damaged, without text, or over the limits of time and memory.
            SystemFailure: the worker process cannot be started.
        """
        header = orjson.dumps({"name": item.name, "format": item.format})
        with self._turn:
            worker = self._running()
            try:
                reply = worker.ask(header + b"\n" + item.content, self._limits)
            except BaseException:
                self._stop()
                raise
        return _result(orjson.loads(reply))

    def close(self) -> None:
        """End the worker process."""
        with self._turn:
            self._stop()

    @property
    def pid(self) -> int | None:
        """The worker's process id, None when none runs."""
        return self._worker.process.pid if self._worker else None

    def _running(self) -> _Worker:
        if self._worker and self._worker.process.poll() is not None:
            self._stop()
        if self._worker is None:
            self._worker = _Worker(self._limits)
        return self._worker

    def _stop(self) -> None:
        if self._worker:
            self._worker.stop()
            self._worker = None


class _Worker:
    def __init__(self, limits: Limits) -> None:
        # A killed worker cannot tidy up, so its temporary files are ours to remove.
        self._directory = tempfile.TemporaryDirectory(prefix="dtrag-parse-")
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            self.process = self._start(theirs, limits)
        try:
            started = self._connection.poll(START_TIMEOUT_S)
            ready = started and self._connection.recv_bytes(len(READY)) == READY
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.stop()
            raise SystemFailure("The parser process cannot be started.")

    def _start(self, theirs: Connection, limits: Limits) -> subprocess.Popen[bytes]:
        numbers = (theirs.fileno(), limits.memory_bytes, limits.cpu_s)
        return subprocess.Popen(  # noqa: S603 - our own module under our own interpreter
            [sys.executable, "-m", "apps.ingestion.worker", *map(str, numbers)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Nothing of our environment: a parser that is taken over finds no secrets.
            env={"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TMPDIR": self._directory.name},
        )

    def ask(self, request: bytes, limits: Limits) -> bytes:
        try:
            self._connection.send_bytes(request)
            if not self._connection.poll(limits.wall_s):
                raise Unprocessable(f"Reading the file took longer than {limits.wall_s:g} s.")
            return self._connection.recv_bytes(limits.text_bytes)
        except (EOFError, OSError) as error:
            raise Unprocessable(self._death()) from error

    def _death(self) -> str:
        try:
            code = self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "The text of the file is too long."
        if code == -signal.SIGXCPU:
            return "Reading the file took too much processor time."
        return f"The parser crashed on the file (exit {code})."

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._connection.close()
        self._directory.cleanup()


def _result(reply: Mapping[str, object]) -> ParsedFile:
    match reply:
        case {"error": str(kind), "detail": str(detail)}:
            raise getattr(errors, kind, Unprocessable)(detail)
        case {"format": str(name), "documents": list(documents)}:
            return ParsedFile(FORMAT_OF[name], tuple(_parsed(document) for document in documents))
    raise Unprocessable("The parser gave no usable answer.")


def _parsed(document: Mapping[str, object]) -> Parsed:
    meta = document["meta"]
    return Parsed(str(document["text"]), meta_from(meta) if isinstance(meta, dict) else ItemMeta())
