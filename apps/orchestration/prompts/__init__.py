"""Loads what is said to models and to people: one file a role and language.

`<node>.<role>.<lang>.md` begins with a head of `For:`, `Fields:` and `Untrusted:` lines, then
`---`, then the text. A prompt has a `[system]` and a `[human]` part; a message to people has
neither. `{name}` is a field. A file that does not keep to this stops the program at its start.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from apps.core.domain.models import Language
from apps.core.errors import SystemFailure
from apps.core.llm.models import Message

FOLDER = Path(__file__).parent
FILE = re.compile(r"(?P<name>[a-z_]+\.[a-z_]+)\.(?P<language>[a-z]{2})\.md")
FIELD = re.compile(r"\{([a-z_]+)\}")
PARTS = re.compile(r"\[system\]\n(?P<system>.+?)\n+\[human\]\n(?P<human>.+)", re.DOTALL)
HEAD = ("For", "Fields", "Untrusted")
FINGERPRINT_CHARS = 12


@dataclass(frozen=True, slots=True)
class Template:
    """One file; `system` is empty for a message to people, whose text is in `human`."""

    fields: frozenset[str]
    system: str
    human: str
    fingerprint: str

    def fill(self, part: str, values: Mapping[str, str]) -> str:
        """Put the values in; what they contain is never read as a field."""
        if values.keys() != self.fields:
            raise SystemFailure(f"A text wants {sorted(self.fields)!r}, got {sorted(values)!r}.")
        return FIELD.sub(lambda match: values[match[1]], part)


def load(folder: Path) -> dict[tuple[str, str], Template]:
    """Read and check every file of a folder, by name and language.

    Raises:
        SystemFailure: names the file and what is wrong with it.
    """
    found = {}
    for path in sorted(folder.glob("*.md")):
        match = FILE.fullmatch(path.name)
        if match is None:
            raise SystemFailure(f"{path.name} is not named <node>.<role>.<lang>.md.")
        text = path.read_text(encoding="utf-8")
        found[match["name"], match["language"]] = _parse(path.name, text)
    for name, _ in found:
        versions = {language: found.get((name, language)) for language in get_args(Language)}
        if len({version.fields if version else None for version in versions.values()}) != 1:
            raise SystemFailure(f"{name} needs {sorted(versions)!r} with the same fields.")
    return found


def _parse(file: str, text: str) -> Template:
    top, mark, body = text.partition("\n---\n")
    lines = dict(line.split(":", 1) for line in top.splitlines() if ":" in line)
    if not mark or tuple(lines) != HEAD:
        raise SystemFailure(f"{file} must begin with {HEAD!r} and a line '---'.")
    plain, untrusted = (_names(lines[key]) for key in HEAD[1:])
    parts = PARTS.fullmatch(body.strip())
    system, human = (parts["system"], parts["human"]) if parts else ("", body.strip())
    used = frozenset(FIELD.findall(body))
    if used != plain | untrusted:
        raise SystemFailure(f"{file}: fields {sorted(used ^ (plain | untrusted))!r} do not match.")
    if untrusted & set(FIELD.findall(system)):
        raise SystemFailure(f"{file} puts text of others into the system part.")
    digest = hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_CHARS]
    return Template(used, system, human, digest)


def _names(line: str) -> frozenset[str]:
    return frozenset(name.strip() for name in line.split(",") if name.strip())


TEMPLATES = load(FOLDER)
FINGERPRINT = hashlib.sha256(
    "".join(one.fingerprint for _, one in sorted(TEMPLATES.items())).encode()
).hexdigest()[:FINGERPRINT_CHARS]


def prompt(name: str, language: Language, **fields: str) -> list[Message]:
    """Fill `<node>.<role>` for a model."""
    template = TEMPLATES[name, language]
    return [
        ("system", template.fill(template.system, fields)),
        ("human", template.fill(template.human, fields)),
    ]


def message(name: str, language: Language, **fields: str) -> str:
    """Fill `<node>.<role>` for a person."""
    template = TEMPLATES[name, language]
    return template.fill(template.human, fields)


def fingerprint(name: str, language: Language) -> str:
    """What identifies the wording that was used."""
    return TEMPLATES[name, language].fingerprint
