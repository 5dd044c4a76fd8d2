"""Plain text in any usual encoding."""

from __future__ import annotations

from collections.abc import Sequence

from apps.ingestion.items import Parsed
from apps.ingestion.readers.encoding import decode
from apps.ingestion.readers.reader import Reader


def read(content: bytes) -> Sequence[Parsed]:
    """One document for the file."""
    return [Parsed(decode(content))]


READER = Reader("txt", read)
