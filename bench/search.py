"""Search throughput: our service with everything on, against a floor and three peers, in one run.

`vs_noop` and `vs_noop_hybrid` divide by a FastAPI route that parses the same body and does nothing;
`vs_llamaindex`, `vs_rank_bm25`, `vs_haystack` divide by the peer's retriever in the same shell on
the same passages. Every question is new, so that no result cache helps; the hybrid figure repeats
questions whose vectors are cached but asks for another lowest score each time, all next to nought,
so that it too gives five hits that no result cache holds.

Usage: python -m bench.search [--passages 10000] [--seconds 4] [--no-peers] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import corpus, index, load, servers

PEERS = ("llamaindex", "rank_bm25", "haystack")
PEER_PACKAGES = (
    "fastapi", "uvicorn[standard]", "langchain-core>=1.7.2,<2", "langchain-community",
    "rank_bm25", "llama-index-core", "llama-index-retrievers-bm25", "haystack-ai",
)  # fmt: skip
SEED = 20260921
CONNECTIONS = 8
ROUNDS = 3
REPEATS = 100
SLOW_PEER_SECONDS = 8.0


def bodies(questions: Sequence[str], *, mode: str | None = None, least: float = 0.0) -> list[bytes]:
    """Encode search requests for five hits that score at least `least`."""
    extra = {"mode": mode, "min_score": least} if mode else {}
    return [
        load.encode(
            "/api/v1/search" if mode else "/search",
            json.dumps({"q": q, "final_topk": 5, **extra}, ensure_ascii=False).encode(),
        )
        for q in questions
    ]


def peers_python(tools: Path) -> str:
    """Return the peers' own interpreter, installing it once."""
    python = tools / "bin" / "python"
    if not (tools / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
        (tools / "installed").touch()
    return str(python)


@contextlib.contextmanager
def contestants(home: Path, rows: Path, *, peers: bool) -> Iterator[dict[str, int]]:
    """Start all servers; yields name → port."""
    ports = {name: servers.free_port() for name in ("ours", "noop", *(PEERS if peers else ()))}
    env = {"DTRAG_HOME": str(home), "ENVIRONMENT": "development", "LOG_LEVEL": "INFO"}
    with contextlib.ExitStack() as stack:
        ours = servers.uvicorn_command("apps.api.main:app", ports["ours"])
        stack.enter_context(servers.running(ours, ports["ours"], env=env, log=home / "ours.log"))
        noop = servers.uvicorn_command("bench.noop_app:app", ports["noop"])
        stack.enter_context(servers.running(noop, ports["noop"], log=home / "noop.log"))
        for name in PEERS if peers else ():
            python = peers_python(servers.ROOT / ".tools" / "peers")
            script = str(Path(__file__).with_name("peers_app.py"))
            command = [python, script, name, str(rows), str(ports[name])]
            stack.enter_context(servers.running(command, ports[name], log=home / f"{name}.log"))
        servers.wait_for_ok(f"http://127.0.0.1:{ports['ours']}/readyz")
        yield ports


async def measure(ports: dict[str, int], *, seconds: float) -> dict[str, float]:
    """Return requests a second for each contestant: medians of interleaved rounds."""
    fresh = corpus.questions(40_000, seed=SEED)
    repeated = corpus.questions(64, seed=SEED + 1)
    found: dict[str, list[float]] = {}
    for turn in range(ROUNDS):
        part = fresh[turn::ROUNDS]
        runs = {
            "noop": (ports["noop"], bodies(part)),
            "ours": (ports["ours"], bodies(part, mode="lexical")),
            "hybrid": (ports["ours"], hybrid_bodies(repeated, turn)),
            **{name: (ports[name], bodies(part)) for name in PEERS if name in ports},
        }
        for name, (port, requests) in runs.items():
            limit = SLOW_PEER_SECONDS if name in PEERS else seconds
            result = await load.drive(port, requests, seconds=limit, connections=CONNECTIONS)
            if result.failed:
                raise RuntimeError(f"{name}: {result.failed} of {result.requests} failed")
            found.setdefault(name, []).append(result.per_second)
    return {name: statistics.median(values) for name, values in found.items()}


def hybrid_bodies(questions: Sequence[str], turn: int) -> list[bytes]:
    """Requests that no cache of results holds, each with another lowest score next to nought."""
    first = 1 + turn * REPEATS
    rows = [bodies(questions, mode="hybrid", least=n * 1e-9) for n in range(first, first + REPEATS)]
    return [request for row in rows for request in row]


def ratios(rates: dict[str, float]) -> dict[str, float | None]:
    """Divide ours by each other; None where a peer was not run."""
    table: dict[str, float | None] = {
        "vs_noop": rates["ours"] / rates["noop"],
        "vs_noop_hybrid": rates["hybrid"] / rates["noop"],
    }
    for name in PEERS:
        table[f"vs_{name}"] = rates["ours"] / rates[name] if name in rates else None
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        rows = corpus.passages(options.passages, seed=SEED)
        index.build(home, rows)
        lines = (json.dumps({"id": key, "text": text}, ensure_ascii=False) for key, text in rows)
        (home / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
        with contestants(home, home / "rows.jsonl", peers=not options.no_peers) as ports:
            rates = asyncio.run(measure(ports, seconds=options.seconds))
    table = ratios(rates)
    if options.json:
        print(json.dumps({**table, "requests_per_second": rates}))
        return
    for key, value in rates.items():
        print(f"{key:16} {value:10.1f} requests/s")
    for key, ratio in table.items():
        print(f"{key:16} {'-' if ratio is None else f'{ratio:10.2f}'}")


if __name__ == "__main__":
    main()
