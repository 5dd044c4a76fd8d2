"""The files of this host that speak of flags: the env file, which may veto, and the KILL file.

A process asks the file system for their marks 20 times a second, which costs microseconds, and
reads a file when its mark has moved. That sees what watching an inode misses (an atomic replace,
the `..data` symlink that a container's orchestrator swaps) and needs no service of the kernel,
which network file systems and some mounts do not give. What counts is the content: once a second
it is compared by its digest, because a mark can stay while the content changes (two writes within
one tick of the clock, a mount that invents its times).
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import structlog

from apps.core import env_file
from apps.core.domain.flags import EVERY_FLAG
from apps.core.flags.catalogue import (
    PREFIX,
    Environment,
    HostWord,
    key_of,
    spoken,
    stricter,
)
from apps.core.settings import Settings, SettingsError, TriState, flag_words
from apps.core.telemetry import metrics

MAX_BYTES = 1 << 20
UTF8 = "utf-8-sig"  # with or without the mark that some editors put in front
Mark = tuple[int, ...] | None

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file said, for the audit; `content` is flag key to word."""

    source: Literal["envfile", "killfile"]
    sha256: str
    content: Mapping[str, str]
    changed_at: float


class WatchedFile:
    """A file by its path, however it gets there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.raw: bytes | None = None
        self.changed_at = 0.0
        self._mark: Mark = None
        self._seen: Mark = None
        self._differing: str | None = None

    def moved(self, *, settled: bool) -> bool:
        """Whether the file is another one than was read.

        Args:
            settled: only if it has not moved since the last question, because a file that is
                being written is read too early.
        """
        before, self._seen = self._seen, _mark(self.path)
        return self._seen != self._mark and (not settled or self._seen == before)

    def differs(self, *, settled: bool) -> bool:
        """Whether the content is another one than was read, whatever the mark says.

        Args:
            settled: only if it was this content at the last question too.
        """
        digest = _digest(_content(self.path))
        before, self._differing = self._differing, digest
        return digest != self.sha256 and (not settled or digest == before)

    def read(self) -> None:
        """Take the content; None when there is no file, or none that can be read."""
        self._mark = self._seen = _mark(self.path)
        self.changed_at = self._mark[-1] / 1e9 if self._mark else 0.0
        self.raw = _content(self.path)

    @property
    def sha256(self) -> str:
        """Of the content."""
        return _digest(self.raw)


def _content(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return None


def _digest(raw: bytes | None) -> str:
    return hashlib.sha256(raw or b"").hexdigest()


def _mark(path: Path) -> Mark:
    try:
        # Through links, so that a link to another file is another file.
        found = os.stat(path)  # noqa: PTH116 - a Path's stat costs twice as much
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class FlagFiles:
    """What both files say; an env file that cannot be used leaves its last good words.

    Attributes:
        host: of these files, for messages.
        ok: whether the env file could be used when it was last read; `fault` tells why not.
        killed: keys that the KILL file names, `*` for all.
        unreported: what the audit does not know yet.
    """

    def __init__(self, settings: Settings) -> None:
        self.host = socket.gethostname()
        self._fixed = settings.fixed_words
        self._env = WatchedFile(settings.env_file) if settings.env_file else None
        self._kill = WatchedFile(settings.kill_file)
        self._words: Mapping[str, TriState] = {}
        self._lost = False
        self.ok = True
        self.fault = ""
        self.killed: frozenset[str] = frozenset()
        self.unreported: list[Reading] = []
        self.read(known=None)

    @property
    def environment(self) -> Environment:
        """The words of this process and of the file."""
        said = spoken(stricter(self._fixed, self._words))
        places = {key: self._place(name, said.words[key]) for key, name in said.names.items()}
        return replace(said, places=places)

    @property
    def said(self) -> HostWord:
        """Both files together."""
        place = f"{self._kill.path.absolute()} on {self.host}"
        return HostWord(self.environment, self.killed, place)

    @property
    def env_name(self) -> str | None:
        """The env file's name, None when there is none to watch."""
        return self._env.path.name if self._env else None

    @property
    def directory(self) -> Path | None:
        """Where the env file is, if that may be watched: a home with a busy database tells of
        every write to it.
        """
        home = self._kill.path.absolute().parent
        found = self._env.path.parent if self._env else None
        return None if found == home else found

    @property
    def env_sha256(self) -> str | None:
        """Of the env file as it was last read, None without one."""
        return self._env.sha256 if self._env and self._env.raw is not None else None

    def look(self, known: Collection[str]) -> bool:
        """Read what has moved; whether anything was read."""
        env = self._env is not None and self._env.moved(settled=True)
        return self._taken(known, env=env, kill=self._kill.moved(settled=False))

    def compare(self, known: Collection[str]) -> bool:
        """Read what has another content, moved or not; whether anything was read."""
        env = self._env is not None and self._env.differs(settled=True)
        return self._taken(known, env=env, kill=self._kill.differs(settled=False))

    def _taken(self, known: Collection[str], *, env: bool, kill: bool) -> bool:
        if env:
            self._read_env(known)
        if kill:
            before = self.killed
            self._read_kill()
            if self.killed != before:
                log.warning("flags.kill_file", killed=sorted(self.killed))
        return env or kill

    def read(self, known: Collection[str] | None) -> None:
        """Read both files now.

        Args:
            known: keys of flags that a variable may name; None while they are not all known.
        """
        self._read_env(known)
        self._read_kill()

    def kill(self, keys: Collection[str], note: str = "") -> bool:
        """Write flags into the KILL file; False if that fails: it counts in this process only."""
        # Who and why stand beside each, in one line, since another would be read as a flag.
        said = f"  # {' '.join(note.split())}" if note else ""
        try:
            self._kill.path.parent.mkdir(parents=True, exist_ok=True)
            with self._kill.path.open("a", encoding="utf-8") as file:
                # The last line of a person may lack its end.
                file.writelines(f"\n{key}{said}\n" for key in sorted(set(keys) - self.killed))
        except OSError as error:
            log.error("flags.kill_file_refused", error=type(error).__name__)
            self.killed |= set(keys)
            return False
        self._read_kill()
        return True

    def _read_env(self, known: Collection[str] | None) -> None:
        if self._env is None:
            return
        self._env.read()
        if self._env.raw is None:
            self._missing(self._env)
            return
        try:
            words = words_of(self._env.raw, self._env.path.name, known)
        except SettingsError as error:
            self.ok, self.fault = False, str(error)
            metrics.flag_envfile_errors.inc()
            log.error("flags.env_file_refused", error=str(error), kept="the last good values")
            return
        self.ok, self.fault, self._words = True, "", words
        said = {key_of(name): word for name, word in words.items() if word != "auto"}
        self._report("envfile", self._env, said)

    def _missing(self, file: WatchedFile) -> None:
        # A file is missing for a moment when it is replaced by hand; a veto must outlive that.
        if self._words and self.ok:
            self.ok, self.fault = False, f"{file.path.name} is missing."
            metrics.flag_envfile_errors.inc()
            log.error("flags.env_file_missing", file=file.path.name, kept="the last good values")

    def _place(self, variable: str, word: TriState) -> str:
        # A word that both say can only be ended by a restart, so the process is named.
        if (
            self._env is None
            or word != self._words.get(variable)
            or self._fixed.get(variable) == word
        ):
            return f"the environment at the start of the process on {self.host}"
        return f"{self._env.path} on {self.host}"

    def _read_kill(self) -> None:
        before = self.killed
        self._kill.read()
        self.killed = killed_by(self._kill.raw)
        if self.killed != before:
            log.info("flags.kill_file_read", killed=sorted(self.killed))
        if self.killed or before:
            self._report("killfile", self._kill, dict.fromkeys(sorted(self.killed), "killed"))

    def _report(
        self, source: Literal["envfile", "killfile"], file: WatchedFile, said: Mapping[str, str]
    ) -> None:
        kept = [reading for reading in self.unreported if reading.source != source]
        self.unreported = [*kept, Reading(source, file.sha256, said, file.changed_at)]


def words_of(raw: bytes, file: str, known: Collection[str] | None) -> dict[str, TriState]:
    """What an env file says of flags, by the names of the variables.

    Raises:
        SettingsError: names the line.
    """
    try:
        found = env_file.parse(raw.decode(UTF8), file)
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8.") from None
    except ValueError as error:
        raise SettingsError(str(error)) from None
    words: dict[str, TriState] = {}
    for name, (value, line) in found.items():
        try:
            words.update(flag_words({name: value}))
        except SettingsError as error:
            raise SettingsError(f"{file} line {line}: {error}") from None
        if known is not None and name.startswith(PREFIX) and key_of(name) not in known:
            raise SettingsError(f"{file} line {line}: there is no flag for {name}.")
    return words


def killed_by(raw: bytes | None) -> frozenset[str]:
    """The flags that a KILL file names, one a line; what cannot be read kills all."""
    if raw is None:
        return frozenset()
    try:
        lines = [line.partition("#")[0].strip() for line in raw.decode(UTF8).splitlines()]
    except UnicodeDecodeError:
        return frozenset({EVERY_FLAG})
    return frozenset(key_of(line) for line in lines if line)
