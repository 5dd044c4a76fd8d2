"""Finds passages in the newest intact index version; the implementation of `Searcher`."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog

from apps.core.artifacts import versions
from apps.core.domain.models import Hit, Passage, SearchMode, SearchQuery, SearchResult, Usage
from apps.core.domain.ports import Embedder, FloatArray, Reranker
from apps.core.errors import DtRagError, IndexNotReady, NotFound
from apps.core.retrieval import centres
from apps.core.retrieval.centres import Centres
from apps.core.retrieval.index import OpenIndex, Ranking
from apps.core.retrieval.loops import Loops
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.recent import Recent
from apps.core.text import language, pii
from apps.core.turns import EachTurn

log = structlog.get_logger(__name__)
# Up to here a scan takes less than a thread costs in waiting for its turn (0.8 ms at 10,000).
INLINE_ROWS = 20_000
# A reranker sees this many times what was asked for.
RERANK_FACTOR = 4
NO_USAGE = Usage()
RERANK = "rerank"  # what `degraded` calls the step that failed


class Plan(NamedTuple):
    """How a query is run: its mode, its centred vector, and what had to be left out."""

    mode: SearchMode
    question: FloatArray | None
    degraded: tuple[str, ...] = ()


class Search:
    """Searches `root`; opens nothing before `refresh` or the first query."""

    def __init__(
        self,
        root: Path,
        *,
        embedder: Embedder | None,
        options: SearchOptions,
        reranker: Reranker | None = None,
    ) -> None:
        self._root = root
        self._embedder = embedder
        self._options = options
        self._reranker = reranker
        self._open: OpenIndex | None = None
        self._seen: str | None = None  # what `latest` named when it was last looked at
        self._refused: str | None = None
        self._opening = threading.Lock()
        self._loops = Loops()
        self._centres: Centres | None = None
        self._vectors: Recent[str, FloatArray] = Recent(options.cache_entries)
        self._results: Recent[tuple[str, SearchQuery], SearchResult] = Recent(options.cache_entries)
        self._named: Recent[str, OpenIndex] = Recent(2)
        self._newest = EachTurn(partial(versions.latest, root))

    @property
    def version(self) -> str | None:
        """The version that is served."""
        return self._open.manifest.version if self._open else None

    @property
    def passages(self) -> int:
        """Passages in the served version."""
        return self._open.manifest.passages if self._open else 0

    @property
    def vectors(self) -> int:
        """Passages of the served version that have a vector of this process's embedder."""
        if self._open is None or self._embedder is None:
            return 0
        return self._open.manifest.vectors if self._open.same_space(self._embedder.id) else 0

    @property
    def refused(self) -> str | None:
        """Why the newest version is not served: the damaged file by name; None when it is."""
        return self._refused

    def passage(self, chunk_id: str) -> Passage | None:
        """A passage of the served version by its chunk id."""
        return self._open.rows.find(chunk_id) if self._open else None

    def refresh(self) -> bool:
        """Follow `latest`: 4 µs when it has not moved, else opens and verifies the new version.

        Returns:
            Whether another version is served now. A damaged version is refused and logged, and
            the one before stays; a process that has none yet takes the newest intact one.
        """
        if versions.latest(self._root) == self._seen:
            return False
        with self._opening:
            wanted = versions.latest(self._root)
            if wanted is None or wanted == self._seen:
                return False
            return self._follow(wanted)

    def _follow(self, wanted: str) -> bool:
        self._refused = None
        older = [name for name in versions.versions(self._root) if name != wanted]
        fallback = sorted(
            (name for name in older if versions.order(name) < versions.order(wanted)),
            key=versions.order,
            reverse=True,
        )
        for name in [wanted] if self._open else [wanted, *fallback]:
            try:
                self._open = self._opened(name)
            except IndexNotReady as error:
                self._refused = self._refused or error.detail
                log.error("index.refused", version=name, reason=error.detail)
                continue
            self._seen = wanted
            log.info("index.opened", version=name, passages=self._open.manifest.passages)
            return True
        self._seen = wanted
        return False

    def _opened(self, version: str) -> OpenIndex:
        return OpenIndex(self._root / version, self._options, loops=self._loops)

    def compile(self) -> None:
        """Load the compiled loops; blocking, half a second, ten the first time."""
        self._loops.load()

    def forget(self) -> None:
        """Compute everything anew from now on."""
        self._results = Recent(self._options.cache_entries)
        self._vectors = Recent(self._options.cache_entries)

    async def search(self, query: SearchQuery) -> SearchResult:
        """Return the best passages.

        Raises:
            IndexNotReady: no version is open.
            NotFound: `query.version` names a version that is not there.
        """
        index = await self._index(query.version)
        # Documents are stored masked, so only the masked question can match them; and no cache
        # may hold what a person typed about a person.
        masked = pii.mask(query.text)
        if masked != query.text:
            query = query._replace(text=masked)
        key = (index.manifest.version, query)
        cached = self._results.get(key)
        if cached is not None:
            return cached._replace(cached=True, usage=NO_USAGE)
        plan = await self._plan(index, query)
        result = await self._run(index, query, plan)
        if not result.degraded:
            self._results.put(key, result)
        return result

    async def _index(self, version: str | None) -> OpenIndex:
        if self._newest() != self._seen:
            await asyncio.to_thread(self.refresh)
        if self._open is None:
            raise IndexNotReady(self._refused or "No index version is published yet.")
        if version is None or version == self._open.manifest.version:
            return self._open
        named = self._named.get(version)
        if named is None:
            if version not in versions.versions(self._root):
                raise NotFound(f"There is no index version {version!r}.")
            named = await asyncio.to_thread(self._opened, version)
            self._named.put(version, named)
        return named

    async def _plan(self, index: OpenIndex, query: SearchQuery) -> Plan:
        wanted = query.mode
        if wanted == "lexical" or (wanted is None and not self._options.hybrid):
            return Plan("lexical", None)
        if self._embedder is None:
            # Nobody asked for vectors where none are configured, so nothing is missing.
            return Plan("lexical", None, () if wanted is None else ("dense",))
        if not index.same_space(self._embedder.id):
            return Plan("lexical", None, ("dense",) if index.manifest.passages else ())
        try:
            question = await self._vector(query.text)
        except DtRagError as error:
            log.warning("search.degraded", leg="dense", reason=error.code)
            return Plan("lexical", None, ("dense",))
        return Plan("dense" if wanted == "dense" else "hybrid", question)

    async def _vector(self, text: str) -> FloatArray:
        known = self._vectors.get(text)
        if known is None:
            known = await asyncio.to_thread(self._embed, text)
            self._vectors.put(text, known)
        return known

    def _embed(self, text: str) -> FloatArray:
        if self._embedder is None:
            raise IndexNotReady("There is no embedder.")
        if self._centres is None:
            self._centres = centres.load(self._embedder)
        vector = self._embedder.queries([text])[0]
        return self._centres.question(vector, language.detect(text))

    async def _run(self, index: OpenIndex, query: SearchQuery, plan: Plan) -> SearchResult:
        wished = self._reranks(query)
        if wished and (found := await self._reranked(index, query, plan)) is not None:
            return found
        ranking = await self._rank(index, query, plan)
        failed = (RERANK,) if wished and ranking.hits else ()
        return _result(index, ranking, plan, failed)

    async def _rank(self, index: OpenIndex, query: SearchQuery, plan: Plan) -> Ranking:
        words = plan.mode != "dense"
        # The first filter of a version sorts its rows by what filters ask for.
        quick = plan.question is None and query.filters.empty
        if quick or len(index.rows) <= INLINE_ROWS:
            return index.rank(query, question=plan.question, use_lexical=words)
        return await asyncio.to_thread(index.rank, query, question=plan.question, use_lexical=words)

    def _reranks(self, query: SearchQuery) -> bool:
        return self._options.rerank if query.rerank is None else query.rerank

    async def _reranked(
        self, index: OpenIndex, query: SearchQuery, plan: Plan
    ) -> SearchResult | None:
        """The hits in the reranker's order; None when there is no telling."""
        if self._reranker is None:
            return None
        # `min_score` is about the score that the caller will see.
        wider = query._replace(top_k=query.top_k * RERANK_FACTOR, min_score=0.0)
        ranking = await self._rank(index, wider, plan)
        hits, usage = ranking.hits, Usage()
        if len(hits) > 1:
            try:
                scored = await self._reranker.rerank(query.text, hits)
            except DtRagError as error:
                log.warning("search.degraded", leg=RERANK, reason=error.code)
                return None
            hits, usage = _by_rerank(hits, scored.scores.tolist()), scored.usage
        kept = tuple(hit for hit in hits if hit.score >= query.min_score)[: query.top_k]
        return _result(index, ranking._replace(hits=kept), plan)._replace(usage=usage)


def _result(
    index: OpenIndex, ranking: Ranking, plan: Plan, failed: tuple[str, ...] = ()
) -> SearchResult:
    return SearchResult(
        hits=ranking.hits,
        total_candidates=ranking.total_candidates,
        mode=plan.mode,
        index_version=index.manifest.version,
        language=ranking.language,
        degraded=(*plan.degraded, *failed),
        signals=ranking.signals,
    )


def _by_rerank(hits: tuple[Hit, ...], scores: list[float]) -> tuple[Hit, ...]:
    """The hits in the reranker's order; its scores, of any scale, become 0..1 over these hits."""
    low, high = min(scores), max(scores)
    width = (high - low) or 1.0
    order = sorted(range(len(hits)), key=lambda place: (-scores[place], place))
    shares = {place: 1 - (high - scores[place]) / width for place in order}
    return tuple(
        hits[place]._replace(
            score=shares[place],
            scores=hits[place].scores._replace(rerank=shares[place]),
        )
        for place in order
    )
