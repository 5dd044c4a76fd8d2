"""The few settings that a kill needs, also when the rest cannot be used.

A file with a typing error must not stand between an operator and the switch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from apps.core import env_file, settings
from apps.core.settings import Settings, SettingsError

NEEDED = ("DTRAG_HOME", "DATABASE_URL")


@dataclass(frozen=True, slots=True)
class Least:
    """What was found.

    settings: everything, or only the home and the database.
    fault: one sentence on what cannot be used; empty when all can.
    has_database: False when nobody knows where the database is; then only this host is reached.
    """

    settings: Settings
    fault: str = ""
    has_database: bool = True


def load(environ: Mapping[str, str] | None = None) -> Least:
    """All settings, or as much of the needed ones as can be read; never raises."""
    try:
        return Least(settings.load(environ))
    except SettingsError as error:
        fault = str(error)
    env = settings.present(environ)
    found = _needed(env)
    home = found.get("DTRAG_HOME", "var")
    try:
        least = Settings(**{"DTRAG_HOME": home, **found})  # type: ignore[arg-type]
    except ValidationError:
        return Least(Settings(DTRAG_HOME=Path(home)), fault, has_database=False)
    # Who names none means the file in the home; a new one would kill nothing.
    embedded = (least.DTRAG_HOME / "dtrag.db").is_file()
    return Least(least, fault, has_database="DATABASE_URL" in found or embedded)


def _needed(env: Mapping[str, str]) -> dict[str, str]:
    """The needed variables, sources in the order of `settings.load`."""
    file = _lines(Path(env.get("DTRAG_ENV_FILE") or ".env"))
    secrets = env.get("DTRAG_SECRETS_DIR") or file.get("DTRAG_SECRETS_DIR")
    home = env.get("DTRAG_HOME") or file.get("DTRAG_HOME") or "var"
    quickstart = _lines(Path(home).expanduser() / "dtrag.env")
    sources = (quickstart, dict(_secrets(secrets)), file, env)
    return {name: source[name] for source in sources for name in NEEDED if source.get(name)}


def _lines(path: Path) -> dict[str, str]:
    return env_file.readable(_text(path))


def _secrets(directory: str | None) -> Iterator[tuple[str, str]]:
    for name in NEEDED if directory else ():
        yield name, _text(Path(str(directory)) / name).strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""
