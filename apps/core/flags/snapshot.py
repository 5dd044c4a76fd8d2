"""All flags at one version, compiled; a request asks it once and touches nothing else.

A snapshot never changes. A new version, another environment or another local kill file makes a
new one, and swapping them is one assignment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from apps.core.domain.flags import EVERY_FLAG, Flag, FlagDecision
from apps.core.errors import NotFound
from apps.core.flags.catalogue import Environment, HostWord
from apps.core.flags.context import FlagContext
from apps.core.flags.definition import SALT, FlagDefinition
from apps.core.flags.evaluation import Evaluation, Explanation, Opinion
from apps.core.flags.hashing import HashVersion
from apps.core.flags.ladder import Asked, Layer, Sources, Step, steps
from apps.core.flags.prerequisites import prerequisites_first
from apps.core.flags.rollout import Split, by_hand
from apps.core.flags.shape import LISTS
from apps.core.settings import TriState


@dataclass(frozen=True, slots=True)
class FlagEntry:
    """What SQL holds of a flag; a row may be nothing but a kill mark.

    default_variant: None when SQL has no opinion.
    """

    key: str
    definition: FlagDefinition | None = None
    default_variant: str | None = None
    hash_version: HashVersion = "v2"
    salt: str = SALT
    killed: bool = False

    @classmethod
    def of(cls, definition: FlagDefinition, *, killed: bool = False) -> FlagEntry:
        """An entry that says what the definition says."""
        return cls(
            definition.key,
            definition,
            definition.default_variant,
            definition.hash_version,
            definition.salt,
            killed,
        )


@dataclass(frozen=True, slots=True)
class FlagWorld:
    """Everything that flags are decided from; `Snapshot` compiles it.

    version: of SQL, 0 before it was read.
    flags: that the code declares.
    entries: of SQL.
    rollouts: by flag key, those that serve.
    evaluators, metadata: of the whole document.
    environment: flag key to the word of its variable, as `Settings.features`.
    names: flag key to the name of its variable, for messages; `FEATURE_…` by default.
    places: flag key to where its variable was read, for messages.
    kill_all: the global switch; `local_kill`: keys of the local file, `*` for all.
    kill_place: where that file is, for messages.
    """

    version: int = 0
    flags: Sequence[Flag] = ()
    entries: Sequence[FlagEntry] = ()
    rollouts: Mapping[str, Split] = field(default_factory=dict)
    evaluators: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    environment: Mapping[str, TriState] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    kill_all: bool = False
    local_kill: frozenset[str] = frozenset()
    places: Mapping[str, str] = field(default_factory=dict)
    kill_place: str = ""

    @property
    def said(self) -> HostWord:
        """What the host says."""
        words = Environment(self.environment, self.names, places=self.places)
        return HostWord(words, self.local_kill, self.kill_place)

    def under(self, said: HostWord) -> FlagWorld:
        """The same on a host that says something else."""
        words = said.environment
        return replace(
            self,
            environment=words.words,
            names=words.names,
            places=words.places,
            local_kill=said.killed,
            kill_place=said.kill_place,
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    key: str
    sources: Sources
    steps: tuple[Step, ...]
    layers: tuple[Layer, ...]
    plain: tuple[Layer, ...]
    fixed: FlagDecision | None

    def decide(self, asked: Asked) -> FlagDecision:
        """The first opinion; the last layer always has one."""
        for layer in self.layers if asked.overrides else self.plain:
            made = layer(asked)
            if made is not None:
                return made
        raise AssertionError(self.key)


class Snapshot:
    """The compiled image of a `FlagWorld`."""

    def __init__(self, world: FlagWorld) -> None:
        """Compile every flag; some 0.1 ms for each that has rules.

        Raises:
            PrerequisiteCycle: flags wait for each other.
        """
        self.world = world
        self.version = world.version
        sources = _sources(world)
        self.killed = frozenset(key for key, flag in sources.items() if flag.killed)
        self._plans = _plans(sources)
        fixed = {plan.key: plan.fixed for plan in self._plans if plan.fixed is not None}
        # When no decision depends on the request, all requests share one evaluation.
        whole = len(fixed) == len(self._plans)
        self._fixed = Evaluation(self.version, fixed) if whole else None

    def __contains__(self, key: object) -> bool:
        """Whether there is such a flag."""
        return any(plan.key == key for plan in self._plans)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all flags, in the order in which they are decided."""
        return tuple(plan.key for plan in self._plans)

    @property
    def shared(self) -> Evaluation | None:
        """What every request without a header is told; None when it depends on the request."""
        return self._fixed

    def metadata(self, key: str) -> Mapping[str, str | int | float | bool]:
        """What may be told of a flag to whoever may read it: its own, then the document's.

        Lists of people are left out.
        """
        entry = next((each for each in self.world.entries if each.key == key), None)
        given = entry.definition.raw.get("metadata") if entry and entry.definition else None
        own = given if isinstance(given, dict) else {}
        shown = {name: value for name, value in own.items() if name not in LISTS}
        return {**self.document_metadata, **shown}

    @property
    def document_metadata(self) -> Mapping[str, str | int | float | bool]:
        """What the imported documents said of all their flags."""
        return self.world.metadata

    def is_killed(self, key: str) -> bool:
        """Whether a node must be skipped now, also one of a flag that nobody declared."""
        return key in self.killed or self.world.kill_all or EVERY_FLAG in self.world.local_kill

    def changed(self, **what: object) -> Snapshot:
        """Another snapshot with some fields of `world` replaced, e.g. `local_kill`."""
        # The fields have many types; the constructor of the world is what checks them.
        return Snapshot(replace(self.world, **what))  # type: ignore[arg-type]

    def evaluate_all(self, context: FlagContext) -> Evaluation:
        """Decide every flag once; never raises, reads no file, database or clock."""
        if self._fixed is not None and not context.overrides:
            return self._fixed
        asked = Asked(context.data(), context.overrides)
        decisions = asked.decisions
        for plan in self._plans:
            made = plan.fixed
            decisions[plan.key] = plan.decide(asked) if made is None or asked.overrides else made
        if context.synthetic or context.overrides:
            decisions = _outside(decisions, synthetic=context.synthetic)
        return Evaluation(self.version, decisions, tuple(asked.missing), asked.units)

    def explain(self, key: str, context: FlagContext) -> Explanation:
        """The whole ladder of one flag for a caller.

        Raises:
            NotFound: there is no such flag.
        """
        evaluation = self.evaluate_all(context)
        plan = next((plan for plan in self._plans if plan.key == key), None)
        if plan is None:
            raise NotFound(f"There is no flag {key!r}.")
        asked = Asked(context.data(), context.overrides, dict(evaluation.decisions))
        ladder = []
        for step in plan.steps:
            made = step.opinion(asked)
            variant = None if made is None else made.variant or made.reason
            ladder.append(Opinion(step.name, variant, step.detail, made))
        rollout = plan.sources.rollout
        unit = next((n for n in rollout.bucket_by if asked.data.get(n)), None) if rollout else None
        percent = rollout.percent if rollout else None
        return Explanation(key, evaluation[key], tuple(ladder), percent, unit)


def _outside(decisions: dict[str, FlagDecision], *, synthetic: bool) -> dict[str, FlagDecision]:
    """The same outside of every arm, since an overridden flag also moves what others measure."""
    if not synthetic and all(made.layer != "OVERRIDE" for made in decisions.values()):
        return decisions
    return {
        key: made if made.arm is None else replace(made, arm=None)
        for key, made in decisions.items()
    }


def _sources(world: FlagWorld) -> dict[str, Sources]:
    declared = {flag.key: flag for flag in world.flags}
    entries = {entry.key: entry for entry in world.entries}
    keys = dict.fromkeys((*declared, *entries, *world.rollouts))
    return {key: _source(world, key, declared.get(key), entries.get(key)) for key in keys}


def _source(world: FlagWorld, key: str, flag: Flag | None, entry: FlagEntry | None) -> Sources:
    stored = entry or FlagEntry(key)
    definition = stored.definition
    prerequisites, percent = (
        (definition.prerequisites, definition.percent) if definition else ((), None)
    )
    return Sources(
        key=key,
        declared=flag is not None,
        definition=definition,
        default_variant=stored.default_variant,
        hash_version=stored.hash_version,
        salt=stored.salt,
        requires=tuple(dict.fromkeys((*(flag.requires if flag else ()), *prerequisites))),
        rollout=world.rollouts.get(key) or by_hand(key, percent),
        environment=world.environment.get(key, "auto"),
        environment_name=world.names.get(key, f"FEATURE_{key.upper()}"),
        environment_place=world.places.get(key, ""),
        killed=_killed_by(world, stored),
        evaluators=world.evaluators,
    )


def _killed_by(world: FlagWorld, entry: FlagEntry) -> str | None:
    if world.kill_all:
        return "all flags are killed in the database"
    if entry.killed:
        return "the flag is killed in the database"
    if not {entry.key, EVERY_FLAG} & world.local_kill:
        return None
    return f"the file {world.kill_place or 'KILL'}"


def _plans(sources: Mapping[str, Sources]) -> tuple[_Plan, ...]:
    plans: dict[str, _Plan] = {}
    for key in prerequisites_first({key: flag.requires for key, flag in sources.items()}):
        plans[key] = _plan(sources[key], plans)
    return tuple(plans.values())


def _plan(flag: Sources, before: Mapping[str, _Plan]) -> _Plan:
    ladder = steps(flag)
    speaking = [step for step in ladder if step.fixed is not None or step.layer is not None]
    end = next(at for at, step in enumerate(speaking) if step.fixed is not None)
    reached = speaking[: end + 1]
    return _Plan(
        flag.key,
        flag,
        ladder,
        layers=tuple(step.opinion for step in reached),
        plain=tuple(step.opinion for step in reached if step.name != "OVERRIDE"),
        fixed=_fixed(flag, reached, before),
    )


def _fixed(
    flag: Sources, layers: Iterable[Step], before: Mapping[str, _Plan]
) -> FlagDecision | None:
    """The decision of every request without a header, if there is one."""
    needed = {key: before[key].fixed for key in flag.requires if key in before}
    known = Asked({}, {}, {key: made for key, made in needed.items() if made is not None})
    for step in layers:
        if step.fixed is not None:
            return step.fixed
        if step.name == "PREREQUISITE" and None not in needed.values():
            made = step.opinion(known)
            if made is not None:
                return made
        elif step.name != "OVERRIDE":
            return None
    return None
