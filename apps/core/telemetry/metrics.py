"""Every instrument of the product, and the page that Prometheus reads.

Labels are closed or bounded sets, never a user's text; children are looked up once and kept.
Durations are milliseconds. The names without the `dtrag_` prefix are those that the
operators' dashboards use. With several workers (`PROMETHEUS_MULTIPROC_DIR`, see `workers.py`)
every figure is the sum over workers unless a gauge says otherwise.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

from apps.core.resilience import BreakerState
from apps.core.telemetry import current, process

Metric = TypeVar("Metric", bound=MetricWrapperBase)

CONTENT_TYPE = CONTENT_TYPE_LATEST
FAST_MS = (1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)
SLOW_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2000, 3000, 4000, 5000, 10_000, 30_000)
MOST_CHILDREN = 256
OTHER = "other"


class Family(Generic[Metric]):
    """The children of one metric; past `most` label sets everything new counts as `other`."""

    def __init__(self, metric: Metric, *, most: int = MOST_CHILDREN) -> None:
        self._metric = metric
        self._most = most
        self._children: dict[tuple[str, ...], Metric] = {}

    def of(self, *values: str) -> Metric:
        """The child with these label values, in the order in which the metric names them."""
        found = self._children.get(values)
        return self._make(values) if found is None else found

    def _make(self, values: tuple[str, ...]) -> Metric:
        if len(self._children) >= self._most:
            return self._metric.labels(*[OTHER] * len(values))
        child = self._children[values] = self._metric.labels(*values)
        return child


# Search: the names of the operators' dashboards. `outcome` is ok | user_error | failure.
searches = Family(Counter("search_api_requests", "Searches by outcome.", ["outcome"]))
search_ms = Histogram("search_api_request_duration", "Search time, ms.", buckets=FAST_MS)
search_cache_hits = Counter("search_api_cache_hits", "Searches answered from the cache.")
search_cache_misses = Counter("search_api_cache_misses", "Searches not answered from the cache.")
# `outcome` is ok | left_alone (by the breaker) | cancelled | an error's code.
reranks = Family(Counter("dtrag_reranks", "Searches ranked once more.", ["outcome"]))
rerank_ms = Histogram("dtrag_rerank_duration_ms", "Time of ranking once more.", buckets=SLOW_MS)
# Without a label it would read 0 before anything was measured; `by` is the job's name.
search_recall = Family(
    Gauge(
        "search_api_recall_at_10",
        "Share of relevant passages among the first ten, as last measured.",
        ["by"],
        multiprocess_mode="mostrecent",
    )
)

# HTTP: `route` is the template, never the path.
http_requests = Family(
    Counter("dtrag_http_requests", "Requests by route and status.", ["route", "method", "status"])
)
http_ms = Family(
    Histogram("dtrag_http_request_duration_ms", "Request time.", ["route"], buckets=SLOW_MS)
)
limited = Family(Counter("dtrag_limited", "Requests refused by a limit.", ["limit"]))
streams_open = Gauge("dtrag_streams_open", "Open event streams.", multiprocess_mode="livesum")

# Answers
answers = Family(
    Counter("dtrag_answers", "Answers by origin and abstention.", ["served_by", "abstained"])
)
answer_ms = Histogram("dtrag_answer_duration_ms", "Answer time.", buckets=SLOW_MS)
feedback = Family(Counter("dtrag_feedback", "Feedback by sign.", ["sign"]))
node_ms = Family(Histogram("dtrag_node_duration_ms", "Node time.", ["node"], buckets=SLOW_MS))
node_failures = Family(
    Counter("dtrag_node_failures", "Nodes that failed or were skipped.", ["node", "reason"])
)

# Flags: keys, variants and reasons come from definitions; `code` is OpenFeature's.
flag_evaluations = Family(
    Counter("dtrag_flag_evaluations", "Decided flags.", ["flag", "variant", "reason"])
)
flag_errors = Family(Counter("dtrag_flag_errors", "Failed decisions.", ["flag", "code"]))
flag_missing_unit = Family(
    Counter("dtrag_flag_missing_unit", "Rollouts that found no unit, thus off.", ["flag"])
)
flag_envfile_errors = Counter("dtrag_flag_envfile_errors", "Env files that were refused.")
flag_snapshot_age_s = Gauge(
    "dtrag_flag_snapshot_age_seconds",
    "Since the database last confirmed the flags' version.",
    multiprocess_mode="livemax",
)

# Models
llm_calls = Family(Counter("dtrag_llm_calls", "Model calls by outcome.", ["model", "outcome"]))
llm_tokens = Family(Counter("dtrag_llm_tokens", "Tokens in and out.", ["model", "direction"]))
llm_cost = Family(Counter("dtrag_llm_cost_usd", "Model cost in US dollars.", ["model"]))
llm_ms = Family(Histogram("dtrag_llm_duration_ms", "Call time.", ["model"], buckets=SLOW_MS))
breaker_open = Family(
    Gauge(
        "dtrag_breaker_open", "1 while calls are held back.", ["model"], multiprocess_mode="livemax"
    )
)

# Flags: `flag` and `arm` are names that an operator gave; never a unit, a tenant or a key.
flag_exposures = Family(
    Counter("dtrag_flag_exposures", "Requests that met a flag in an arm.", ["flag", "arm"])
)
flag_changes = Family(
    Counter("dtrag_flag_changes", "Effective changes by this service.", ["flag", "source"]),
    most=1024,
)
flag_overrides_ignored = Counter(
    "dtrag_flag_overrides_ignored", "Entries of X-DTRAG-Flags that were malformed or not allowed."
)
rollout_bad = Family(
    Counter("dtrag_rollout_bad", "Bad events in an arm.", ["flag", "arm", "metric"]), most=1024
)
rollout_units = Family(
    Counter("dtrag_rollout_units", "Units that were new to a worker.", ["flag", "arm"])
)
# `result` is merged | delayed (kept) | unknown (broken commit) | dropped (the database refused).
rollout_merges = Family(Counter("dtrag_rollout_merges", "Batches of counts.", ["result"]))

# Rollouts, as the leading worker sees them; `metric` may be `combined` or `srm` too.
rollout_percent = Family(
    Gauge(
        "dtrag_rollout_percent",
        "Units in the canary, 0-100.",
        ["flag"],
        multiprocess_mode="mostrecent",
    )
)
rollout_state = Family(
    Gauge(
        "dtrag_rollout_state",
        "1 for the state of the flag's rollout.",
        ["flag", "state"],
        multiprocess_mode="mostrecent",
    ),
    most=1024,
)
rollout_log_e = Family(
    Gauge(
        "dtrag_rollout_log_e",
        "Natural logarithm of the evidence against the canary.",
        ["flag", "metric"],
        multiprocess_mode="mostrecent",
    ),
    most=1024,
)

# Cache: `level` is local | redis | joined; `reason` is absent | expired | invalidated | unreadable.
cache_hits = Family(Counter("dtrag_cache_hits", "Cache hits.", ["region", "level"]))
cache_misses = Family(Counter("dtrag_cache_misses", "Cache misses.", ["region", "reason"]))

# Index and jobs
index_version = current.Named("dtrag_index_version", "1 for the open version.", label="version")
index_passages = Gauge(
    "dtrag_index_passages", "Passages in the open version.", multiprocess_mode="livemax"
)
index_vectors = Gauge(
    "dtrag_index_vectors", "Vectors in the open version.", multiprocess_mode="livemax"
)
jobs = Family(Counter("dtrag_jobs", "Finished jobs.", ["kind", "state"]))
jobs_waiting = Gauge("dtrag_jobs_waiting", "Jobs in the queue.", multiprocess_mode="livemostrecent")

# Storage. `result` is written | dropped (the queue was full) | refused (the database said no).
writer_rows = Family(Counter("dtrag_writer_rows", "Rows behind the response.", ["result"]))
writer_waiting = Gauge(
    "dtrag_writer_waiting", "Rows not yet committed.", multiprocess_mode="livesum"
)
# `name` is database | redis; absent until it was asked for the first time.
dependency_up = Family(
    Gauge("dtrag_dependency_up", "1 while it answers.", ["name"], multiprocess_mode="livemin")
)

# Process
page_faults = Gauge(
    "memmap_page_faults", "Page faults that read from disk.", multiprocess_mode="livesum"
)
resident_bytes = Gauge(
    "dtrag_process_resident_bytes", "Memory held by the process.", multiprocess_mode="livesum"
)


def sample_process() -> None:
    """Read the figures of this process; call it now and then in every worker."""
    page_faults.set(process.page_faults())
    resident_bytes.set(process.resident_bytes())


def render() -> bytes:
    """The page in Prometheus' text form, over all workers of this service."""
    sample_process()
    return generate_latest(registry())


def registry() -> CollectorRegistry:
    """Where the current figures can be read: of all workers when they share, else of this one."""
    shared = CollectorRegistry()
    try:
        # The library leaves this one constructor without annotations.
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    except ValueError:  # no directory is shared: this is the only worker
        return REGISTRY
    for own in (process.OutOfMemory(), index_version):
        shared.register(own)
    return shared


def show_breaker(name: str, state: BreakerState) -> None:
    """Tell how a breaker stands, as its listener."""
    breaker_open.of(name).set(0 if state == "closed" else 1)


for _own in (process.OutOfMemory(), index_version):
    REGISTRY.register(_own)
