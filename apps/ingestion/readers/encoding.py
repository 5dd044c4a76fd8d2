"""Decodes text files: Unicode with or without a mark, a declared charset, CP949, a guess."""

from __future__ import annotations

import codecs
import re
from itertools import chain

from charset_normalizer import from_bytes

from apps.core.errors import Unprocessable

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 64_000
# The 2,350 syllables of KS X 1001 make up nearly all of Korean text; bytes of another encoding
# read as CP949 give the rare rest of it, Han characters and signs.
COMMON_KOREAN = re.compile(r"[가-힣ㄱ-ㆎ·…‘’“”―～○●◎◇◆□■△▲▽▼→←↑↓※℃]")
KOREAN_SHARE = 0.9
READABLE_SHARE = 0.98


def decode(content: bytes, declared: str | None = None) -> str:
    """Decode `content`; `declared` is what the file or its sender says.

    Raises:
        Unprocessable: it is no text in any encoding.
    """
    for mark, name in MARKS:
        if content.startswith(mark):
            return content.decode(name, errors="replace")
    candidates = ("utf-8", wide(content), declared, _korean(content))
    for name in filter(None, candidates):
        text = _strictly(content, name)
        if text is not None:
            return text
    best = from_bytes(content[:SAMPLE_BYTES]).best()
    if best is None:
        raise Unprocessable("The file is not text in any known encoding.")
    return content.decode(best.encoding, errors="replace")


def _strictly(content: bytes, name: str) -> str | None:
    try:
        text = content.decode(name)
    except (LookupError, UnicodeError):
        return None
    return None if "\0" in text and wide(content) else text


def wide(content: bytes) -> str | None:
    """Name the form of UTF-16 that `content` has without a mark, None when it has none."""
    sample = content[: SAMPLE_BYTES // 2 * 2]
    if b"\0" not in sample or len(sample) % 2:
        return None
    return next((name for name in ("utf-16-le", "utf-16-be") if _readable(sample, name)), None)


def _readable(sample: bytes, name: str) -> bool:
    # Read in the wrong order, or made of other bytes, a fifth of the characters are unassigned.
    text = sample.decode(name, errors="replace")
    printable = sum(char.isprintable() or char.isspace() for char in text)
    plain = any(char in " \n.,:" for char in text)
    return plain and printable >= READABLE_SHARE * len(text) and "\0" not in text


def _korean(content: bytes) -> str | None:
    sample = content[:SAMPLE_BYTES]
    text = sample.decode("cp949", errors="replace")
    wide = [char for char in text if char > "\x7f"]
    common = sum(1 for _ in chain.from_iterable(map(COMMON_KOREAN.findall, wide)))
    return "cp949" if wide and common >= KOREAN_SHARE * len(wide) else None
