"""The golden vectors of the buckets: 10,000 units x 7 flags x both hash versions.

A moved bucket moves people between arms in the middle of a rollout, so nothing may change here.
`golden.json` holds the SHA-256 of all lines and the lines of the first units, to be read by eye.
A line is: version, flag, unit, hash of `fractional`, its bucket of 100, bucket of a rollout with
the salt s1; between tabs. `python -m tests.core.flags.golden` prints the file anew.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from apps.core.flags.hashing import HASH_VERSIONS, fractional_hash, rollout_bucket, scaled

FILE = Path(__file__).with_name("golden.json")
# Written out, since the order of a catalogue may change and these may not.
KEYS = (
    "soft_q_bandit",
    "debate_mode",
    "experience_replay",
    "meta_planner",
    "neural_case_selector",
    "mcp_tools",
    "tools_policy",
)
SALT = "s1"
# Letters of one byte and of three.
UNITS = tuple(unit for n in range(1, 5001) for unit in (f"user-{n}", f"사용자-{n}"))
READABLE = 4


def lines(*, flags: tuple[str, ...], units: tuple[str, ...] = UNITS) -> Iterator[str]:
    """Every vector as a line."""
    for version in HASH_VERSIONS:
        for flag in flags:
            bucket = rollout_bucket(version, flag, SALT)
            for unit in units:
                hashed = fractional_hash(version, flag, unit)
                facts = (version, flag, unit, hashed, scaled(hashed, 100), bucket(unit))
                yield "\t".join(map(str, facts))


def document() -> dict[str, object]:
    """What the file holds."""
    every = hashlib.sha256()
    for line in lines(flags=KEYS):
        every.update(f"{line}\n".encode())
    few = list(lines(flags=KEYS, units=UNITS[:READABLE]))
    return {"vectors": len(UNITS) * len(KEYS) * 2, "sha256": every.hexdigest(), "first": few}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), ensure_ascii=False, indent=1) + "\n")
