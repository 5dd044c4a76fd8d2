"""A store of flags that a test turns by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apps.core.domain.flags import Flag, FlagValue
from apps.core.domain.models import AnswerRequest
from apps.core.flags.catalogue import CATALOGUE, Environment, HostWord
from apps.core.flags.context import FlagContext, context_of
from apps.core.flags.definition import parse_flag
from apps.core.flags.evaluation import Evaluation
from apps.core.flags.rollout import Split
from apps.core.flags.snapshot import FlagEntry, FlagWorld, Snapshot
from apps.core.flags.stored import world_of
from apps.core.storage import flags as stored_flags
from apps.core.storage.engine import Storage


@dataclass
class FakeFlagStore:
    """Reads SQL when it is told to; without a storage it only knows what a test gives it."""

    storage: Storage | None = None
    flags: Sequence[Flag] = CATALOGUE
    environment: Environment = field(default_factory=lambda: Environment({}, {}))
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(FlagWorld(flags=CATALOGUE)))
    decided: list[FlagContext] = field(default_factory=list)
    worker_id: str = "here:1"
    host: str = "here"

    def decide(self, context: FlagContext) -> Evaluation:
        self.decided.append(context)
        return self.snapshot.evaluate_all(context)

    def evaluate_all(self, request: AnswerRequest | None) -> Evaluation:
        return self.decide(context_of(request, timestamp=0))

    async def fresh(self) -> None:
        return

    async def reload(self) -> int:
        if self.storage is not None:
            async with self.storage.reading() as s:
                table = await stored_flags.load_flags(s)
            world = world_of(table, flags=self.flags, said=HostWord(self.environment))
            self.snapshot = Snapshot(world)
        return self.snapshot.version

    async def kill_locally(self, keys: frozenset[str], note: str = "") -> bool:
        local = self.snapshot.world.local_kill | keys
        self.snapshot = self.snapshot.changed(local_kill=local)
        return True


def rolled_out(*rollouts: Split, **more: object) -> FakeFlagStore:
    """The flags of the product, of which some are rolled out."""
    world = FlagWorld(flags=CATALOGUE, rollouts={each.flag_key: each for each in rollouts})
    return FakeFlagStore(snapshot=Snapshot(world).changed(**more))


WEIGHTS = {"light": 0.1, "heavy": 0.9}


def weighed() -> FakeFlagStore:
    """An experiment over the weight of the dense leg, under hybrid search for all."""
    return variants("dense_weight", WEIGHTS, Split("hybrid_search", 100, counts=False))


def variants(key: str, values: Mapping[str, FlagValue], *rollouts: Split) -> FakeFlagStore:
    """An experiment for everybody over the values of a flag, in equal arms."""
    definition = {"state": "ENABLED", "variants": values, "defaultVariant": next(iter(values))}
    arms = dict.fromkeys(values, 1)
    return rolled_out(
        Split(key, 100, id="ro_w", epoch=1, stage=0, arms=arms),
        *rollouts,
        entries=(FlagEntry.of(parse_flag(key, definition)),),
    )
