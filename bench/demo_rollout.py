"""Show an automatic rollback on a service of two workers; run it with `make demo-rollout`.

A rollout of `debate_mode` begins, a fault hits the canary (`DTRAG_FAULTS`, development only), and
the controller takes the flag from everybody again. The evidence is drawn while it grows, and
computed again from the audit row at the end. It needs about a minute and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from apps.cli.rollout_picture import picture
from apps.core.flags.proof import verify_evidence
from apps.core.settings import load
from apps.core.storage import flag_audit
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import AuditFilter, AuditRow
from bench.servers import ROOT, free_port, running, wait_for_ok

FLAG = "debate_mode"
WORKERS = 2
# Of the runs of the node; `Policy.breaker_share` is 0.5, so the test decides, not the breaker.
FAULT_SHARE = 0.15
LIMIT_S = 100.0
AT_ONCE = 8
USERS = 4_000
QUESTIONS = (
    "딥러닝의 주요 개념은?",
    "How do I roll a feature back?",
    "기계 학습이란 무엇인가?",
    "What is a neural network?",
    "환불은 어떻게 받나요?",
    "machine learning과 통계의 차이는?",
)
# Quick, so that a minute is enough; a real ladder keeps the defaults.
POLICY = {
    "metrics": [
        {"name": "error", "negligible": 0.05},
        {"name": "node_error", "role": "absolute", "limit": 0.05},
        {"name": "quality", "kind": "score"},
    ],
    "dwell_s": 30.0,
    "soak_s": 60.0,
    "min_units": 50,
    "silence_s": 60.0,
    "min_control_units": 5,
}
console = Console()


def main() -> None:
    """Prepare a home, serve from it, and play the rollout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fault", default=f"{FLAG}=error:{FAULT_SHARE}", help="of DTRAG_FAULTS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dtrag-demo-") as home, _environment(home) as env:
        port = free_port()
        env |= {"API_PORT": str(port), "DTRAG_FAULTS": arguments.fault}
        console.print("Loading the sample documents …")
        key = _prepared(env)
        command = [sys.executable, "-m", "apps.cli.main", "serve", "--workers", str(WORKERS)]
        base = f"http://127.0.0.1:{port}"
        with running(command, port, env=env, log=Path(home) / "serve.log"):
            wait_for_ok(f"{base}/readyz")
            rolled_back = asyncio.run(_play(base, key))
        if not rolled_back:
            console.print(f"[red]No rollback within {LIMIT_S:.0f} s.[/red]")
            sys.exit(1)
        asyncio.run(_recomputed(env))


@contextlib.contextmanager
def _environment(home: str) -> Iterator[dict[str, str]]:
    own = ("DTRAG", "FEATURE", "USE_", "DATABASE", "API_", "ENVIRONMENT")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    nothing = Path(home) / "nothing.env"
    nothing.touch()
    yield {
        **clean,
        "DTRAG_HOME": home,
        "DTRAG_ENV_FILE": str(nothing),
        "DTRAG_EMBEDDER": "none",
        "ENVIRONMENT": "development",
        "LOG_LEVEL": "WARNING",
    }


def _prepared(env: dict[str, str]) -> str:
    """Load the sample; return a key that may move rollouts and answer without limit."""
    _dtrag(env, "quickstart", "--no-serve")
    scopes = "answer,flags:read,flags:write"
    return str(
        json.loads(_dtrag(env, "keys", "create", "--name", "demo", "--scopes", scopes, "--json"))[
            "api_key"
        ]
    )


def _dtrag(env: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "apps.cli.main", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout


async def _play(base: str, key: str) -> bool:
    """Create, start, drive traffic, and watch; whether it was rolled back."""
    async with httpx.AsyncClient(base_url=base, headers={"X-API-Key": key}, timeout=30.0) as client:
        place = await _started(client)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            numbers = itertools.count()
            for _ in range(AT_ONCE):
                group.create_task(_ask(client, numbers, stop))
            try:
                return await _watched(client, place)
            finally:
                stop.set()


async def _started(client: httpx.AsyncClient) -> str:
    body = {"flag_key": FLAG, "stages": [25, 50, 100], "policy": POLICY, "reason": "demo"}
    made = (await client.post("/api/v1/admin/rollouts", json=body)).raise_for_status().json()
    place = f"/api/v1/admin/rollouts/{made['id']}"
    (await client.post(f"{place}/start", json={"reason": "demo"})).raise_for_status()
    console.print(f"{FLAG} goes to 25 % of the users; its node is made to fail.\n")
    return place


async def _ask(client: httpx.AsyncClient, numbers: Iterator[int], stop: asyncio.Event) -> None:
    while not stop.is_set():
        number = next(numbers)
        body = {
            # Each is new, because an answer from the cache meets no node and is not counted.
            "question": f"{QUESTIONS[number % len(QUESTIONS)]} ({number})",
            "user_id": f"사용자-{number % USERS}" if number % 2 else f"user-{number % USERS}",
        }
        # Some fail on purpose; the arms count them.
        with contextlib.suppress(httpx.HTTPError):
            await client.post("/answer", json=body)


async def _watched(client: httpx.AsyncClient, place: str) -> bool:
    end = time.monotonic() + LIMIT_S
    with Live(console=console, auto_refresh=False) as live:
        while time.monotonic() < end:
            told = (await client.get(place)).raise_for_status().json()
            live.update(picture(told), refresh=True)
            if told["state"] not in {"RUNNING", "HELD"}:
                return bool(told["state"] == "ROLLED_BACK")
            await asyncio.sleep(1.0)
    return False


async def _recomputed(env: dict[str, str]) -> None:
    """Print what the audit row says, and compute its evidence again."""
    settings = load(env)
    storage = await Storage.open(settings)
    try:
        async with storage.reading() as s:
            (row, *_) = await flag_audit.listed(s, AuditFilter(source="controller"))
            chain = await flag_audit.verify(s)
    finally:
        await storage.close()
    _print(row, chain_ok=chain.ok)


def _print(row: AuditRow, *, chain_ok: bool) -> None:
    evidence: dict[str, Any] = dict(row.evidence or {})
    again = verify_evidence(evidence)
    console.print(
        f"\nThe controller rolled {row.flag_key} back at look {evidence['look']}: {row.reason}, "
        f"combined E {evidence['combined_E']:.1f} of {evidence['threshold']:g}."
    )
    for metric in evidence["metrics"]:
        console.print(
            f"  {metric['metric']}: bad {metric['S1']} canary, {metric['S0']} control "
            f"of {metric['n1']} and {metric['n0']} requests"
        )
    console.print(f"Evidence computed again from the audit row: {'equal' if again else 'WRONG'}.")
    console.print(f"Chain of the audit: {'whole' if chain_ok else 'BROKEN'}.")
    if not (again and chain_ok):
        sys.exit(1)


if __name__ == "__main__":
    main()
