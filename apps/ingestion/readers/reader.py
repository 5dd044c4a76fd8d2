"""What every reader offers: the name of its format and a function from bytes to documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from apps.core.errors import Unprocessable
from apps.ingestion.items import Format, Parsed, clean, meta_from


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one format; `read` runs in the worker process and may be killed at any time.

    `read` raises UnsupportedOperation for a locked file and Unprocessable for a broken one;
    whatever else it raises is a broken file too.
    """

    format: Format
    read: Callable[[bytes], Sequence[Parsed]]


def read_clean(reader: Reader, content: bytes) -> list[Parsed]:
    """Read `content` and clean what was found.

    Raises:
        Unprocessable: there is no text in it.
    """
    found = (
        replace(parsed, text=clean(parsed.text), meta=meta_from(asdict(parsed.meta)))
        for parsed in reader.read(content)
    )
    documents = [parsed for parsed in found if parsed.text]
    if not documents:
        raise Unprocessable("No text found.")
    return documents
