"""Core services from the settings, for the server and the command line alike.

Importing this module must stay cheap: a search may be asked for within two seconds of the
process's start, so nothing here imports SQLAlchemy, LangGraph or a provider's kit.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import structlog

from apps.core.bell import Bell
from apps.core.cache import Cache, Generation
from apps.core.domain.ports import Clock, Embedder, Reranker
from apps.core.flags.catalogue import environment
from apps.core.llm.embed import embedder
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.core.settings import Settings, SettingsError
from apps.core.telemetry import logs
from apps.core.telemetry.traces import Traces
from apps.core.text import pii

HYBRID_FLAG = "hybrid_search"
RERANK_FLAG = "reranker"
Tracing = Callable[[], AbstractContextManager[Traces | None]]
NO_TRACES: Tracing = nullcontext

log = structlog.get_logger(__name__)


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()


def configure_logs(settings: Settings) -> None:
    """Set up logging: one JSON object a line, masked."""
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    logs.configure(settings.LOG_LEVEL, json=True, mask=pii.mask)


def tracing(settings: Settings) -> Tracing:
    """What opens the way to the collector that the settings name; it gives None without one.

    Raises:
        SettingsError: a collector is named, but the packages that speak to it are missing.
    """
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return NO_TRACES
    try:
        export = importlib.import_module("apps.core.telemetry.export")
    except ImportError:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT: the extra `otel` is not installed."
        ) from None
    return partial(export.exporting, settings)


def hybrid(settings: Settings) -> bool:
    """Whether a search that names no mode uses vectors: asked for somewhere and vetoed nowhere."""
    return environment(settings).words.get(HYBRID_FLAG) == "true"


def search_options(settings: Settings, *, hybrid: bool) -> SearchOptions:
    """What an operator chose about searching."""
    return SearchOptions(
        hybrid=hybrid,
        fusion=settings.DTRAG_FUSION,
        dense_weight=_dense_weight(settings),
        rerank=environment(settings).words.get(RERANK_FLAG) == "true",
        faiss_above=settings.DTRAG_FAISS_ABOVE,
    )


def _dense_weight(settings: Settings) -> float:
    if settings.DTRAG_DENSE_WEIGHT is not None:
        return settings.DTRAG_DENSE_WEIGHT
    if settings.DTRAG_LEXICAL_WEIGHT is not None:
        return 1 - settings.DTRAG_LEXICAL_WEIGHT
    return SearchOptions().dense_weight


def open_embedder(settings: Settings) -> Embedder | None:
    """The embedder that DTRAG_EMBEDDER names; its model is loaded by its first text.

    Raises:
        Unprocessable: the name is unknown, or its package is missing.
    """
    return embedder(settings.DTRAG_EMBEDDER)


def open_search(
    settings: Settings, *, embedder: Embedder | None = None, reranker: Reranker | None = None
) -> Search:
    """The search over the newest index version; opens it with its first query or `refresh`.

    Args:
        settings: where the index lives and how it is searched.
        embedder: the one that DTRAG_EMBEDDER names when absent.
        reranker: what `orchestration.reranking` opens, which knows prompts and models.
    """
    for warning in environment(settings).warnings:
        log.warning("flags.names_differ", warning=warning)
    return Search(
        settings.artifacts_dir,
        embedder=embedder or open_embedder(settings),
        options=search_options(settings, hybrid=hybrid(settings)),
        reranker=reranker,
    )


def open_cache(
    settings: Settings, *, clock: Clock, generation: Generation = lambda _region: 0
) -> Cache:
    """The cache that the settings describe; connects to nothing yet.

    Args:
        settings: its bounds, and Redis.
        clock: when entries end.
        generation: see `Cache`; a raised one empties a region in every process.
    """
    return Cache.open(settings, clock=clock, generation=generation)


def open_bell(settings: Settings) -> Bell | None:
    """What brings news of flags through Redis, when there is one; connects to nothing yet."""
    return Bell(settings.REDIS_URL) if settings.REDIS_URL else None
