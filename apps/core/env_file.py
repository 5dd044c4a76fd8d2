"""Files of KEY=VALUE lines: what is read, and what is refused with the line that is wrong."""

from __future__ import annotations

import re

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def values(text: str, file: str) -> dict[str, str]:
    """Variables and their values; see `parse`."""
    return {key: value for key, (value, _) in parse(text, file).items()}


def parse(text: str, file: str) -> dict[str, tuple[str, int]]:
    """Read variables into value and line: optional quotes, `#` comments, no interpolation.

    Raises:
        ValueError: names file and line; a value with `$(` or a backquote is refused because a
            shell and a container would read it differently.
    """
    found: dict[str, tuple[str, int]] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{file} line {number} is not KEY=VALUE.")
        key, value = match[1], _unquote(match[2])
        if value is None:
            raise ValueError(f"{file} line {number}: {key} has a quote without its pair.")
        if "$(" in value or "`" in value:
            raise ValueError(
                f"{file} line {number}: {key} holds a command substitution, which is never run."
            )
        if key in found:
            raise ValueError(f"{file} line {number}: {key} is given twice.")
        found[key] = (value, number)
    return found


def readable(text: str) -> dict[str, str]:
    """The variables of those lines that can be read; of one that is given twice, the last."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        try:
            found.update(values(line, ""))
        except ValueError:
            continue
    return found


def _unquote(value: str) -> str | None:
    """The value without quotes and comment; None when the quotes do not pair."""
    if value[:1] in ("'", '"'):
        match = re.fullmatch(r"""(['"])(.*?)\1(?:\s+#.*)?\s*""", value)
        return match[2] if match else None
    return re.split(r"(?:^|\s+)#", value, maxsplit=1)[0].strip()
