"""What the decision of all flags costs a request: ours, a bare dictionary, and OpenFeature.

Nine flags: four with a staged share of 25 %, three with a rule and a share, two fixed. The peer
(OpenFeature SDK and flagd's core 1.0.0, in an environment of their own) gets the same flags,
shares as `fractional`. Microseconds of CPU a request, medians of interleaved rounds; the ratios
are what can be compared between machines.

Usage: python -m bench.flags [--requests 20000] [--no-peer] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from apps.core.flags.catalogue import CATALOGUE
from apps.core.flags.context import FlagContext
from apps.core.flags.definition import parse_document
from apps.core.flags.hashing import murmur3, portable_murmur3
from apps.core.flags.rollout import Split
from apps.core.flags.snapshot import FlagEntry, FlagWorld, Snapshot
from bench.servers import ROOT

PEER_PACKAGES = ("openfeature-sdk==0.10.0", "openfeature-flagd-core==1.0.0")
STAGED = ("soft_q_bandit", "experience_replay", "tools_policy", "mcp_tools")
RULED = ("debate_mode", "meta_planner", "reranker")
PERCENT = 25
SHARE = {"fractional": [["on", PERCENT], ["off", 100 - PERCENT]]}
RULE = {"if": [{"in": [{"var": "tenant"}, ["pilot"]]}, "on", SHARE]}
ROUNDS = 5
# The peer is slower by so much that fewer requests measure it as well.
PEER_SHARE = 10


def document(*, staged_as_rules: bool) -> dict[str, object]:
    """The nine flags; a peer without staged rollouts gets them as rules."""
    rules = dict.fromkeys(RULED, RULE) | (dict.fromkeys(STAGED, SHARE) if staged_as_rules else {})
    return {
        "flags": {
            flag.key: {
                "state": "ENABLED",
                "variants": {"on": True, "off": False},
                "defaultVariant": "off",
                **({"targeting": rules[flag.key]} if flag.key in rules else {}),
            }
            for flag in CATALOGUE
        }
    }


def snapshot() -> Snapshot:
    """Ours."""
    flags = parse_document(document(staged_as_rules=False))
    return Snapshot(
        FlagWorld(
            version=1,
            flags=CATALOGUE,
            entries=tuple(FlagEntry.of(flag) for flag in flags.flags.values()),
            rollouts={key: Split(key, PERCENT, id="bench") for key in STAGED},
        )
    )


def cpu_us(work: Callable[[FlagContext], object], contexts: Sequence[FlagContext]) -> float:
    """Microseconds of CPU a request."""
    began = time.process_time()
    for context in contexts:
        work(context)
    return (time.process_time() - began) / len(contexts) * 1e6


def peer_python(tools: Path) -> str:
    """Return the peer's own interpreter, installing it once."""
    python = tools / "bin" / "python"
    if not (tools / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
        (tools / "installed").touch()
    return str(python)


def peer_us(python: str, requests: int) -> float:
    """The peer's figure, from a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "flags.json"
        path.write_text(json.dumps(document(staged_as_rules=True)), encoding="utf-8")
        script = str(Path(__file__).with_name("flags_peer.py"))
        command = [python, script, str(path), str(requests)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(requests: int, *, peer: bool) -> dict[str, float]:
    """Return microseconds a request for each contestant."""
    decide = snapshot().evaluate_all
    fixed = Snapshot(FlagWorld(flags=CATALOGUE)).evaluate_all
    table, keys = {flag.key: False for flag in CATALOGUE}, [flag.key for flag in CATALOGUE]
    contexts = [
        FlagContext(targeting_key=f"user-{n}", user_id=f"user-{n}", tenant="other")
        for n in range(requests)
    ]
    works: dict[str, Callable[[FlagContext], object]] = {
        "ours": decide,
        "ours_with_digest": lambda context: decide(context).digest,
        "ours_all_fixed": fixed,
        "dictionary": lambda _context: [table[key] for key in keys],
        "murmur3": lambda _context: murmur3(b"debate_mode:s1:user-12345"),
        "murmur3_in_python": lambda _context: portable_murmur3(b"debate_mode:s1:user-12345"),
    }
    python = peer_python(ROOT / ".tools" / "flags") if peer else ""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, work in works.items():
            found.setdefault(name, []).append(cpu_us(work, contexts))
        if peer:
            us = peer_us(python, max(100, requests // PEER_SHARE))
            found.setdefault("openfeature_flagd", []).append(us)
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.requests, peer=not options.no_peer)
    ratios = {"vs_dictionary": found["ours"] / found["dictionary"]}
    if "openfeature_flagd" in found:
        ratios["openfeature_flagd_vs_ours"] = found["openfeature_flagd"] / found["ours"]
    if options.json:
        print(json.dumps({**ratios, "us_per_request": found}))
        return
    for name, value in found.items():
        print(f"{name:28} {value:10.2f} µs a request")
    for name, value in ratios.items():
        print(f"{name:28} {value:10.2f}")


if __name__ == "__main__":
    main()
