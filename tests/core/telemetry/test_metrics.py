"""Metrics: the promised names, closed labels, many workers, little cost."""

from __future__ import annotations

import re
import subprocess
import sys
import timeit
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from apps.core.telemetry import metrics, process
from apps.core.telemetry.current import Named
from apps.core.telemetry.hits import Tally
from apps.core.telemetry.metrics import Family

ROOT = Path(__file__).parents[3]

WORKER = """
import sys
from apps.core.telemetry import metrics
metrics.searches.of("ok").inc(int(sys.argv[1]))
metrics.search_ms.observe(12)
metrics.streams_open.set(int(sys.argv[1]))
metrics.index_passages.set(100)
metrics.sample_process()
print("ready", flush=True)
input()
"""
SUPERVISOR = """
import subprocess, sys
from pathlib import Path
from apps.core.telemetry import workers

workers.share_metrics(Path(sys.argv[1]))
pipe = subprocess.PIPE
started = [
    subprocess.Popen([sys.executable, "-c", sys.argv[2], n], stdin=pipe, stdout=pipe, text=True)
    for n in ("2", "3")
]
for worker in started:
    worker.stdout.readline()
from apps.core.telemetry import metrics
metrics.index_version.set("20250101_0000")
both = metrics.render().decode()
started[0].kill()
started[0].wait()
workers.forget_worker(started[0].pid)
print(both, "=====", metrics.render().decode())
started[1].communicate("\\n")
"""


def instruments() -> dict[str, MetricWrapperBase]:
    """Every instrument of the module by its Python name."""
    found = {}
    for name, value in vars(metrics).items():
        metric = value._metric if isinstance(value, Family) else value
        if isinstance(metric, MetricWrapperBase):
            found[name] = metric
    return found


def value(page: str, name: str, **labels: str) -> float | None:
    """One sample of a page."""
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


def test_the_dashboards_names_are_there() -> None:
    """Requirements document 000 names them; rules over them need these series."""
    metrics.searches.of("ok").inc(0)
    metrics.search_recall.of("test").set(0.9)
    page = metrics.render().decode()
    for name in (
        "search_api_requests_total",
        "search_api_request_duration_bucket",
        "search_api_cache_hits_total",
        "search_api_cache_misses_total",
        "search_api_recall_at_10",
        "memmap_page_faults",
    ):
        assert value(page, name) is not None, name


def test_durations_are_in_milliseconds() -> None:
    """The alert compares with 200."""
    before = value(metrics.render().decode(), "search_api_request_duration_bucket", le="200.0")
    metrics.search_ms.observe(150)
    after = value(metrics.render().decode(), "search_api_request_duration_bucket", le="200.0")
    assert (before, after) == (before, (before or 0) + 1)


def test_names_follow_the_rules() -> None:
    """Only the promised six go without the product's prefix."""
    promised = {
        "search_api_requests",
        "search_api_request_duration",
        "search_api_cache_hits",
        "search_api_cache_misses",
        "search_api_recall_at_10",
        "memmap_page_faults",
    }
    for metric in instruments().values():
        assert metric._name in promised or re.fullmatch(r"dtrag_[a-z_]+", metric._name)


def test_no_label_can_hold_a_users_text() -> None:
    """Labels are the names of closed or bounded sets."""
    allowed = {"outcome", "by", "route", "method", "status", "limit", "served_by", "abstained",
               "sign", "node", "reason", "model", "direction", "region", "level", "kind", "state",
               "result", "name", "le", "flag", "variant", "code", "arm", "metric",
               "source"}  # fmt: skip
    for metric in instruments().values():
        assert set(metric._labelnames) <= allowed, metric


def test_every_gauge_says_how_workers_add_up() -> None:
    """`all` would make a series for each process id, for ever."""
    gauges = [metric for metric in instruments().values() if isinstance(metric, Gauge)]
    assert len(gauges) > 5
    assert all(gauge._multiprocess_mode != "all" for gauge in gauges)


def test_a_family_does_not_grow_without_bound() -> None:
    """Past its bound, new label values count as `other`."""
    counter = Counter("bounded", "x", ["name"], registry=None)
    family = Family(counter, most=3)
    for number in range(10):
        family.of(str(number)).inc()
    family.of("0").inc()
    samples = {sample.labels["name"]: sample.value for sample in counter.collect()[0].samples
               if sample.name == "bounded_total"}  # fmt: skip
    assert samples == {"0": 2, "1": 1, "2": 1, "other": 7}


def test_what_was_never_measured_is_absent() -> None:
    """A recall of 0 or a database that is down would raise an alarm for nothing."""
    code = "from apps.core.telemetry import metrics; print(metrics.render().decode())"
    page = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert value(page, "search_api_recall_at_10") is None
    assert value(page, "dtrag_dependency_up") is None


def test_only_the_current_version_is_named() -> None:
    """The version before has no sample any more; without a version there is none."""
    version = Named("version_test", "x", label="version")
    registry = CollectorRegistry()
    registry.register(version)
    samples = []
    for current in (None, "20250101_0000", "20250102_0000"):
        version.set(current)
        (family,) = registry.collect()
        samples.append([(sample.labels["version"], sample.value) for sample in family.samples])
    assert samples == [[], [("20250101_0000", 1)], [("20250102_0000", 1)]]


def test_workers_add_up_and_the_dead_are_forgotten(tmp_path: Path) -> None:
    """Two processes are one service; counters stay when one of them dies, its gauges go."""
    left = tmp_path / "counter_1.db"
    left.write_bytes(b"from the last run")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SUPERVISOR, str(tmp_path), WORKER],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    both, one = done.stdout.split("=====")
    assert value(both, "search_api_requests_total", outcome="ok") == 5
    assert value(both, "search_api_request_duration_count") == 2
    assert value(both, "dtrag_streams_open") == 5
    assert value(both, "dtrag_index_passages") == 100
    assert value(both, "dtrag_index_version", version="20250101_0000") == 1
    assert value(one, "search_api_requests_total", outcome="ok") == 5
    assert value(one, "dtrag_streams_open") == 3
    assert not left.exists()


def test_counting_costs_little() -> None:
    """A bound child costs about as much as a bare one; compared in one run."""
    registry = CollectorRegistry()
    bare = Counter("bare", "x", registry=registry)
    bare_s = min(timeit.repeat(bare.inc, number=20_000, repeat=5))
    ours_s = min(timeit.repeat(lambda: metrics.searches.of("ok").inc(), number=20_000, repeat=5))
    assert ours_s < 4 * bare_s


def test_the_cache_tally_reports_and_counts() -> None:
    """One count feeds the report and Prometheus."""
    tally = Tally()
    before = value(metrics.render().decode(), "dtrag_cache_hits_total", region="tally") or 0
    tally.hit("tally", "local")
    tally.miss("tally", "absent")
    tally.miss("tally", "absent")
    after = value(metrics.render().decode(), "dtrag_cache_hits_total", region="tally")
    assert after == before + 1
    assert tally.report()["hit_rate"] == pytest.approx(1 / 3)


class TestProcess:
    def test_memory_is_a_plausible_number(self) -> None:
        """A Python process holds between 5 MB and 50 GB."""
        assert 5e6 < process.resident_bytes() < 5e10

    def test_page_faults_never_shrink(self) -> None:
        """It is a count."""
        assert 0 <= process.page_faults() <= process.page_faults()

    def test_kills_are_read_from_the_own_group(self, tmp_path: Path) -> None:
        """The kernel counts them for each container."""
        own = tmp_path / "cgroup"
        own.write_text("1:cpu:/other\n0::/mine/deeper\n")
        events = tmp_path / "mine/deeper/memory.events"
        events.parent.mkdir(parents=True)
        events.write_text("low 0\noom 4\noom_kill 3\n")
        assert process.out_of_memory_kills(own, tmp_path) == 3
        events.write_text("low 0\n")
        assert process.out_of_memory_kills(own, tmp_path) is None

    def test_where_the_kernel_does_not_tell_there_is_no_number(self, tmp_path: Path) -> None:
        """Not zero: nobody looked."""
        assert process.out_of_memory_kills(tmp_path / "none", tmp_path) is None
        (tmp_path / "old").write_text("1:memory:/x\n")
        assert process.out_of_memory_kills(tmp_path / "old", tmp_path) is None
