"""Experiments: wrong verdicts and intervals when everybody looks all the time, and what is found.

Made units pass through the result that people read (apps/core/flags/experiment_results.py), which
is looked at after every hundred units. A run is wrong when any look was.

Usage: python -m bench.experiment [--seed 20261121] [--runs 400] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from apps.core.flags.experiment_results import ALPHA, Counted, Json, result
from apps.core.flags.metric import Kind, Metric
from apps.core.flags.policy import Policy
from apps.core.flags.presets import policy_json
from apps.core.storage.rollout_counts import UNITS, Cell, Tally, Vote
from apps.core.storage.rollouts import Rollout

SEED, RUNS, LOOK = 20261121, 400, 100
QUALITY = "quality"
RATES: Mapping[str, float] = {"error": 0.02, "slow": 0.05}
MEAN, SPREAD = 0.8, 12.0
"""Of a beta distribution: the mean of the scores, and the sum of its two parameters."""
METRICS = (Metric(QUALITY, kind=Kind.SCORE), *(Metric(name) for name in RATES))
REFERENCE = "off"


@dataclass(frozen=True)
class Case:
    """What one kind of run is made of.

    arms: to the weights of their units.
    risk: metric to how many times as often the other arms are bad.
    drop: how much less their mean score is.
    """

    name: str
    arms: Mapping[str, int] = field(default_factory=lambda: {"off": 1, "on": 1})
    units: int = 2_000
    risk: Mapping[str, float] = field(default_factory=dict)
    drop: float = 0.0


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    name: str
    target: str
    measured: float
    met: bool
    runs: int


ALIKE = (
    Case("two variants alike"),
    Case("one unit in five", {"off": 4, "on": 1}),
    Case("four variants alike", {"off": 1, "a": 1, "b": 1, "c": 1}),
    Case("errors x3, quality -0.05", risk={"error": 3.0}, drop=0.05),
)
DIFFERENT = (
    (Case("quality .80 to .75", units=4_000, drop=0.05), QUALITY),
    (Case("quality .80 to .50, 50 units an arm", units=100, drop=0.3), QUALITY),
    (Case("errors 2 to 10 %", units=4_000, risk={"error": 5.0}), "error"),
)


class Run:
    """One experiment whose units come one after another."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        names = list(case.arms)
        shares = np.array([case.arms[name] for name in names]) / sum(case.arms.values())
        self.case = case
        self.arm = rng.choice(names, case.units, p=shares)
        other = self.arm != REFERENCE
        mean = MEAN - case.drop * other
        self.score = rng.beta(mean * SPREAD, (1 - mean) * SPREAD)
        self.bad = {
            name: rng.random(case.units) < rate * np.where(other, case.risk.get(name, 1.0), 1.0)
            for name, rate in RATES.items()
        }
        self.votes = [
            Vote("x", 1, QUALITY, f"{n:x}", 0, str(arm), 0.0, float(score))
            for n, (arm, score) in enumerate(zip(self.arm, self.score, strict=True))
        ]

    def looks(self) -> Iterator[Json]:
        """The result after every hundred units."""
        row = experiment(self.case.arms)
        for seen in range(LOOK, self.case.units + 1, LOOK):
            yield result(Counted(row, self._tallies(seen), self.votes[:seen]))

    def _tallies(self, seen: int) -> dict[Cell, Tally]:
        found = {}
        for arm in self.case.arms:
            mine = self.arm[:seen] == arm
            units = int(mine.sum())
            found[Cell("x", 1, 0, UNITS, arm)] = Tally(n=units)
            for name, bad in self.bad.items():
                votes = int(bad[:seen][mine].sum())
                found[Cell("x", 1, 0, name, arm)] = Tally(n=units, bad=votes, total=float(votes))
        return found


def experiment(arms: Mapping[str, int]) -> Rollout:
    """The row of a running experiment."""
    policy = policy_json(Policy(stages=(100.0,), metrics=METRICS, auto_promote=False))
    return Rollout(
        "x", "flag", "experiment", arms, "s1", ("user_id",), (100.0,), 0, 100.0, 0.0, "RUNNING",
        policy, 1, 0.0, 0.0, None, None, None, 1, 0.0, 0.0,
    )  # fmt: skip


def wrong(case: Case, look: Json) -> bool:
    """Whether a verdict or an interval contradicts what the units were made with."""
    return any(_contradicts(case, each) for each in look["comparisons"])


def _contradicts(case: Case, said: Json) -> bool:
    name = said["metric"]
    truth = -case.drop if name == QUALITY else case.risk.get(name, 1.0)
    neutral = 0.0 if name == QUALITY else 1.0
    better = truth > neutral if name == QUALITY else truth < neutral
    right = "undecided" if truth == neutral else "better" if better else "worse"
    within = said.get("difference") or said["relative_risk"]
    high = np.inf if within["high"] is None else within["high"]
    return said["verdict"] not in ("undecided", right) or not within["low"] <= truth <= high


def found(look: Json, metric: str) -> bool:
    """Whether the harm was named."""
    return any(
        each["metric"] == metric and each["verdict"] == "worse" for each in look["comparisons"]
    )


def lines(seed: int, runs: int) -> Iterator[Line]:
    """The table."""
    for case in ALIKE:
        rng = np.random.default_rng(seed)
        share = float(
            np.mean(
                [any(wrong(case, look) for look in Run(case, rng).looks()) for _ in range(runs)]
            )
        )
        yield Line(f"ever wrong: {case.name}", f"<= {ALPHA:.0%}", share, share <= ALPHA, runs)
    for case, metric in DIFFERENT:
        rng = np.random.default_rng(seed)
        share = float(
            np.mean(
                [any(found(look, metric) for look in Run(case, rng).looks()) for _ in range(runs)]
            )
        )
        yield Line(f"found: {case.name}", ">= 80 %", share, share >= 0.8, runs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    table = list(lines(given.seed, given.runs))
    if given.json:
        print(json.dumps({"seed": given.seed, "lines": [asdict(line) for line in table]}))
        return
    for line in table:
        mark = "" if line.met else "  MISSED"
        print(f"{line.name:48} {line.measured:7.1%}  goal {line.target}, {line.runs} runs{mark}")


if __name__ == "__main__":
    main()
