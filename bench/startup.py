"""Cold start and memory: process start to the first good answers, and resident megabytes.

Usage: python -m bench.startup [--passages 10000] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import psutil

from bench import corpus, index, servers

ROUNDS = 3
SEED = 20260921
LIMIT_S = 60.0


def first_success_s(url: str, body: Mapping[str, object], *, began: float) -> float:
    """Return seconds from `began` until `url` first answers 200 to `body`."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    while time.monotonic() - began < LIMIT_S:
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S):
                return time.monotonic() - began
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
    raise RuntimeError(f"{url} gave no 200 within {LIMIT_S} s")


def one_start(home: Path) -> dict[str, float]:
    """Start the service once and measure it."""
    port = servers.free_port()
    base = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    command = servers.uvicorn_command("apps.api.main:app", port)
    env = {"DTRAG_HOME": str(home), "ENVIRONMENT": "development"}
    with servers.running(command, port, env=env, log=home / "server.log") as pid:
        search = first_success_s(f"{base}/api/v1/search", {"q": "vector"}, began=began)
        answer = first_success_s(f"{base}/answer", {"question": "vector?"}, began=began)
        hybrid = {"q": "vector", "mode": "hybrid"}
        first_success_s(f"{base}/api/v1/search", hybrid, began=began)
        servers.wait_for_ok(f"{base}/readyz")
        resident = psutil.Process(pid).memory_info().rss / 1e6
    return {"first_search_s": search, "first_answer_s": answer, "resident_mb": resident}


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        index.build(home, corpus.passages(options.passages, seed=SEED))
        runs = [one_start(home) for _ in range(ROUNDS)]
    table = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    if options.json:
        print(json.dumps(table))
        return
    for key, value in table.items():
        print(f"{key:16} {value:8.2f}")


if __name__ == "__main__":
    main()
