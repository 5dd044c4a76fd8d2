"""How much longer a search takes in an index ten times as large: p95 over real HTTP.

One caller at a time; every lexical question is new, and hybrid searches repeat questions whose
vectors are cached but whose results are not. Building the large index takes a minute or two.

Usage: python -m bench.growth [--small 10000] [--large 100000] [--seconds 5] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import corpus, index, load, search, servers

WARM_REQUESTS = 4_000
WARM_S = 3.0
# After the first search the compiled loops may still be loading.
AWAKE_S = 8.0


def measure(passages: int, *, seconds: float) -> dict[str, float]:
    """The 95th percentile by mode, milliseconds."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        index.build(home, corpus.passages(passages, seed=search.SEED))
        port = servers.free_port()
        env = {"DTRAG_HOME": name, "ENVIRONMENT": "development", "LOG_LEVEL": "INFO"}
        command = servers.uvicorn_command("apps.api.main:app", port)
        with servers.running(command, port, env=env, log=home / "log"):
            servers.wait_for_ok(f"http://127.0.0.1:{port}/readyz")
            time.sleep(AWAKE_S)
            fresh = corpus.questions(30_000, seed=search.SEED)
            repeated = corpus.questions(64, seed=search.SEED + 1)
            modes = {
                "lexical": search.bodies(fresh, mode="lexical"),
                "hybrid": search.hybrid_bodies(repeated, 0),
            }
            return {mode: _p95(port, each, seconds) for mode, each in modes.items()}


def _p95(port: int, requests: Sequence[bytes], seconds: float) -> float:
    warm, asked = requests[:WARM_REQUESTS], requests[WARM_REQUESTS:]
    asyncio.run(load.drive(port, warm, seconds=WARM_S, connections=1))
    found = asyncio.run(load.drive(port, asked, seconds=seconds, connections=1))
    if found.failed:
        raise RuntimeError(f"{found.failed} of {found.requests} failed")
    return found.p95_ms


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    small, large = (
        measure(passages, seconds=options.seconds) for passages in (options.small, options.large)
    )
    table = {f"{mode}_ratio": large[mode] / small[mode] for mode in small}
    if options.json:
        print(json.dumps({**table, "small_p95_ms": small, "large_p95_ms": large}))
        return
    for mode, ratio in table.items():
        name = mode.removesuffix("_ratio")
        print(f"{name:8} {small[name]:7.2f} ms {large[name]:7.2f} ms {ratio:6.2f}")


if __name__ == "__main__":
    main()
