"""Stand-ins for what ingestion works with: a parser without a process, an index without files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from apps.core.domain.ports import FloatArray
from apps.core.errors import DtRagError, ProviderBusy
from apps.core.outbound.public import Fetched
from apps.ingestion.build import IndexRow
from apps.ingestion.items import NewItem
from apps.ingestion.parse import ParsedFile
from apps.ingestion.readers.reader import read_clean
from apps.ingestion.readers.registry import reader_of
from apps.ingestion.sniff import sniff


class DirectParser:
    """Reads in this process; counts the files that it was given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def parse(self, item: NewItem) -> ParsedFile:
        self.names.append(item.name)
        name = item.format or sniff(item.name, item.content)
        return ParsedFile(name, tuple(read_clean(reader_of(name), item.content)))

    def close(self) -> None:
        pass


class MemoryIndex:
    """Keeps what was published; `failures` publications fail first."""

    def __init__(self) -> None:
        self.rows: dict[str, IndexRow] = {}
        self.vectors: dict[str, FloatArray] = {}
        self.publications = 0
        self.failures = 0

    def publish(
        self,
        *,
        added: Sequence[IndexRow],
        removed: Collection[str],
        embedder_id: str | None,
        full: bool,
        now: float,
    ) -> str:
        self._count()
        gone = {row.passage.doc_id for row in added} | set(removed)
        kept = {} if full else self.rows
        self.rows = {key: row for key, row in kept.items() if row.passage.doc_id not in gone}
        self.rows |= {row.passage.chunk_id: row for row in added}
        known = {key: value for key, value in self.vectors.items() if key in self.rows}
        new = {row.passage.chunk_id: row.vector for row in added if row.vector is not None}
        self.vectors = known | new
        return str(self.publications)

    def set_vectors(
        self, vectors: Mapping[str, FloatArray], *, embedder_id: str, now: float
    ) -> str:
        self._count()
        self.vectors |= {key: value for key, value in vectors.items() if key in self.rows}
        return str(self.publications)

    def _count(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.publications += 1

    @property
    def doc_ids(self) -> set[str]:
        return {row.passage.doc_id for row in self.rows.values()}


class OnePage:
    """An outside world with one page, which is away for the first `failures` fetches."""

    def __init__(
        self,
        content: bytes,
        *,
        filename: str = "page.html",
        failures: int = 0,
        error: DtRagError | None = None,
    ) -> None:
        self.content = content
        self.filename = filename
        self.failures = failures
        self.error = error or ProviderBusy("The server of the URL answered 503.")
        self.refuse: Exception | None = None

    async def check(self, url: str, *, timeout_s: float = 1.0) -> None:
        if self.refuse:
            raise self.refuse

    async def fetch(self, url: str, *, max_bytes: int, timeout_s: float) -> Fetched:
        if self.failures:
            self.failures -= 1
            raise self.error
        return Fetched(url, self.content, "text/html; charset=utf-8", self.filename)

    async def close(self) -> None:
        pass
