"""What one request was told of all flags, frozen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from apps.core.domain.flags import FlagDecision
from apps.core.flags.hashing import unit_hash
from apps.core.flags.searching import Said, said


@dataclass(frozen=True)
class Evaluation(Mapping[str, FlagDecision]):
    """Flag key to decision, in the order in which prerequisites allow them to be decided.

    version: of the snapshot.
    missing: flags whose rollout found no unit, for a counter.
    hashes: what a stored evaluation has in place of its units, by flag key.
    """

    version: int
    decisions: Mapping[str, FlagDecision]
    missing: tuple[str, ...] = ()
    # Who a unit is must not reach a log or a trace.
    units: Mapping[str, str] = field(default_factory=dict, repr=False)
    hashes: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, decisions: Mapping[str, FlagDecision]) -> Evaluation:
        """Decisions that may have been made without a snapshot."""
        return decisions if isinstance(decisions, cls) else cls(0, decisions)

    def __getitem__(self, key: str) -> FlagDecision:
        return self.decisions[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.decisions)

    def __len__(self) -> int:
        return len(self.decisions)

    @cached_property
    def on(self) -> frozenset[str]:
        """Keys of the flags that are on, for the graph."""
        return frozenset(key for key, decision in self.decisions.items() if decision.on)

    @cached_property
    def armed(self) -> frozenset[str]:
        """Keys of the flags whose arm enters the statistics."""
        return frozenset(key for key, decision in self.decisions.items() if decision.arm)

    @cached_property
    def searching(self) -> Said:
        """What they say of searches."""
        return said(self.decisions)

    @cached_property
    def header(self) -> str:
        """All flags in one line, e.g. `debate_mode=on;mcp_tools=off`; of values the variant."""
        return ";".join(f"{key}={_word(made)}" for key, made in self.items())

    @cached_property
    def overridden(self) -> bool:
        """Whether the request's header decided a flag."""
        return any(decision.layer == "OVERRIDE" for decision in self.decisions.values())

    @cached_property
    def digest(self) -> str:
        """For the key of a cached answer: equal for equal values of the same pools."""
        facts = [
            (key, each.variant, each.value, each.epoch, each.arm, each.shared_by)
            for key, each in sorted(self.decisions.items())
        ]
        return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()

    def unit_hash(self, key: str, pepper: bytes) -> bytes | None:
        """What may be stored of the unit that a rollout of this flag saw; None without one."""
        unit = self.units.get(key)
        return self.hashes.get(key) if unit is None else unit_hash(unit, pepper)

    def without(self, killed: frozenset[str]) -> Evaluation:
        """The same after a kill, for a run that has begun."""
        stopped = {key for key in killed if key in self.decisions and self.decisions[key].active}
        if not stopped:
            return self
        kept = {key: KILLED if key in stopped else made for key, made in self.decisions.items()}
        return Evaluation(self.version, kept, self.missing, self.units, self.hashes)

    def as_json(self) -> dict[str, dict[str, object]]:
        """The block `decision.flags` of an answer; what is None is left out."""
        return {key: decision_json(made) for key, made in self.decisions.items()}


def _word(made: FlagDecision) -> str:
    """On or off; a header must bear the name of a variant that stands for another value."""
    valued = made.value is not None and not isinstance(made.value, bool)
    if valued and made.variant is not None and PLAIN.fullmatch(made.variant):
        return made.variant
    return "on" if made.on else "off"


PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
KILLED = FlagDecision(on=False, reason="DISABLED", layer="KILLED", variant="off", value=False)
OPTIONAL = ("variant", "bucket", "rollout", "epoch", "stage", "arm", "error")


def decision_json(made: FlagDecision) -> dict[str, object]:
    """One decision for an answer; the value is told when it is more than on or off."""
    entry: dict[str, object] = {"on": made.on, "reason": made.reason, "layer": made.layer}
    if made.value is not None and not isinstance(made.value, bool):
        entry["value"] = made.value
    found = ((name, getattr(made, name)) for name in OPTIONAL)
    return entry | {name: value for name, value in found if value is not None}


def span_facts(key: str, made: FlagDecision) -> dict[str, str]:
    """A decision for a span, in OpenTelemetry's words, without the targeting key."""
    return {
        "feature_flag.key": key,
        "feature_flag.result.variant": made.variant or ("on" if made.on else "off"),
        "feature_flag.result.reason": made.reason.lower(),
    }


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one layer said when it was asked; `variant` is None for nothing."""

    layer: str
    variant: str | None
    detail: str
    decision: FlagDecision | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a flag is what it is for a caller: every layer's opinion, and the one that decided."""

    key: str
    decision: FlagDecision
    ladder: tuple[Opinion, ...]
    percent: float | None
    unit_name: str | None

    def as_json(self) -> dict[str, object]:
        """The ladder for a program, the same from REST and the command line."""
        made = self.decision
        return {
            "key": self.key,
            "value": made.value,
            "variant": made.variant,
            "reason": made.reason,
            "decided_by": made.layer,
            "ladder": [
                {"layer": each.layer, "opinion": each.variant, "detail": each.detail}
                for each in self.ladder
            ],
            "bucket": made.bucket,
            "percent": self.percent,
            "unit_name": self.unit_name,
        }
