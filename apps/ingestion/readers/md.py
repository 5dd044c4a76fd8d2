"""Markdown: the text as people read it; front matter and the first heading tell the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from apps.ingestion.items import NEWLINE, ItemMeta, Parsed, meta_from
from apps.ingestion.readers.encoding import decode
from apps.ingestion.readers.reader import Reader

FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
FIELD = re.compile(r"([A-Za-z_][\w-]*):[ \t]*(.*)")
FENCE = re.compile(r"[ \t]{0,3}(```|~~~)")
HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+(.*?)[ \t#]*\Z")
UNDERLINE = re.compile(r"[ \t]{0,3}(?:=+|-{3,}|\*{3,}|_{3,})[ \t]*\Z")
TABLE_RULE = re.compile(r"(?=[^|\n]*\|)[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*(?:\||\Z))+[ \t]*\Z")
TABLE_ROW = re.compile(r"[ \t]*\|(.*)\|[ \t]*\Z")
QUOTE = re.compile(r"\A[ \t]{0,3}(?:>[ \t]?)+")
COMMENT = re.compile(r"<!--.*?-->", re.S)
# Each pair removes its own marks; classes exclude the opening mark, so time stays linear.
INLINE = (
    (re.compile(r"!?\[([^\[\]\n]{0,500})\](?:\([^()\n]{0,1000}\)|\[[^\[\]\n]{0,200}\])"), r"\1"),
    (re.compile(r"<(https?://[^<>\s]{1,1000})>"), r"\1"),
    (re.compile(r"</?[A-Za-z][^<>\n]{0,300}>"), ""),
    (re.compile(r"\*\*([^*\n]{1,2000})\*\*"), r"\1"),
    (re.compile(r"(?<!\w)__([^_\n]{1,2000})__(?!\w)"), r"\1"),
    (re.compile(r"(?<![\w*])\*([^*\s][^*\n]{0,2000}?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"~~([^~\n]{1,2000})~~"), r"\1"),
    (re.compile(r"`([^`\n]{1,2000})`"), r"\1"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!|>~-])"), r"\1"),
)


def read(content: bytes) -> Sequence[Parsed]:
    """One document for the file."""
    return [plain(decode(content))]


def plain(source: str) -> Parsed:
    """Take the marks away and keep headings, lists, tables and code as text."""
    source = NEWLINE.sub("\n", source).lstrip("\ufeff")
    front = FRONT_MATTER.match(source)
    meta = meta_from(_fields(front[1])) if front else ItemMeta()
    body = COMMENT.sub("", source[front.end() :] if front else source)
    lines = list(_lines(body))
    headings = (text for text, heading in lines if heading and text)
    title = meta.title or next(headings, None)
    text = "\n".join(f"\n{line}\n" if heading else line for line, heading in lines)
    return Parsed(text, ItemMeta(title=title).over(meta))


def _lines(body: str) -> Iterator[tuple[str, bool]]:
    fenced = False
    for line in body.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
            yield "", False
        elif fenced:
            yield line, False
        elif not (UNDERLINE.match(line) or TABLE_RULE.match(line)):
            heading = HEADING.match(line)
            yield inline(heading[1] if heading else line), heading is not None


def inline(line: str) -> str:
    """Take the marks of one line away."""
    line = QUOTE.sub("", line, count=1)
    row = TABLE_ROW.match(line)
    if row:
        line = " | ".join(cell.strip() for cell in row[1].split("|"))
    for pattern, kept in INLINE:
        line = pattern.sub(kept, line)
    return line


def _fields(block: str) -> dict[str, object]:
    """The simple part of YAML: `key: value`, `key: [a, b]` and `- item` lines."""
    fields: dict[str, object] = {}
    key = ""
    for line in block.split("\n"):
        match = FIELD.match(line)
        if match:
            key = match[1].lower()
            fields[key] = _value(match[2])
        elif key and line.lstrip().startswith("- "):
            kept = fields[key]
            item = _unquoted(line.lstrip()[2:])
            fields[key] = [*kept, item] if isinstance(kept, list) else [item]
    return fields


def _value(raw: str) -> object:
    raw = raw.strip()
    if raw.startswith("[") and raw.endswith("]"):
        return [_unquoted(part) for part in raw[1:-1].split(",") if part.strip()]
    return _unquoted(raw)


def _unquoted(raw: str) -> str:
    raw = raw.strip()
    if len(raw) >= 2 and raw[0] == raw[-1] and raw[0] in "'\"":
        return raw[1:-1]
    return re.split(r"\s#", raw, maxsplit=1)[0].strip()


READER = Reader("md", read)
