"""The flags of the product and the variables of the environment that may veto or allow them.

An agent's own module declares its flag too; this list is what operators see while an agent is
not built yet, and it says in which order flags are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from apps.core.domain.flags import Flag
from apps.core.settings import Settings, TriState

AGENTS: tuple[Flag, ...] = (
    Flag("soft_q_bandit", "Learned choice of the retrieval strategy."),
    Flag("debate_mode", "Several agents debate the draft of the answer."),
    Flag("experience_replay", "Decisions are stored with their rewards and replayed."),
    Flag("meta_planner", "The question is taken apart into a plan."),
    Flag("neural_case_selector", "Solved cases are chosen from the case bank."),
    Flag("mcp_tools", "Tools are called through MCP.", requires=("tools_policy",)),
    Flag("tools_policy", "A policy is asked before each tool call."),
)
RETRIEVAL: tuple[Flag, ...] = (
    Flag("hybrid_search", "Words and vectors are searched together."),
    Flag("reranker", "The best passages are ranked once more."),
)
CATALOGUE = AGENTS + RETRIEVAL
PREFIX = "FEATURE_"
OWN_NAMES: Mapping[str, str] = MappingProxyType(
    {"hybrid_search": "USE_HYBRID_SEARCH", "reranker": "USE_RERANKER"}
)
"""Flags whose first name does not begin so; that name is an alias."""


def flag_of(key: str) -> Flag:
    """A flag of the catalogue, for the node that it gates."""
    return next(flag for flag in CATALOGUE if flag.key == key)


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment says of flags.

    words: flag key to its word; what is absent is `auto`.
    names: flag key to the variable that gave the word.
    places: flag key to where the variable was read, for messages.
    warnings: one sentence for each flag whose two names differ.
    """

    words: Mapping[str, TriState]
    names: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)


NO_ENVIRONMENT = Environment({}, {})


@dataclass(frozen=True, slots=True)
class HostWord:
    """What a host says of flags.

    environment: its words.
    killed: keys of its KILL file, `*` for all; `kill_place` is where that is, for messages.
    """

    environment: Environment = NO_ENVIRONMENT
    killed: frozenset[str] = frozenset()
    kill_place: str = ""


def environment(settings: Settings) -> Environment:
    """What all sources together said when the process started."""
    words = {f"{PREFIX}{key.upper()}": word for key, word in settings.features.items()}
    return spoken({**words, **{name: getattr(settings, name) for name in OWN_NAMES.values()}})


def spoken(words: Mapping[str, TriState]) -> Environment:
    """Sort the words of variables by flag; false wins where two names of one flag differ."""
    found = {key_of(name): word for name, word in words.items() if name.startswith(PREFIX)}
    names = {key: f"{PREFIX}{key.upper()}" for key in found}
    warnings = []
    for key, own_name in OWN_NAMES.items():
        own = words.get(own_name, "auto")
        alias = found.get(key, "auto")
        if own != "auto" and alias not in ("auto", own):
            warnings.append(
                f"{own_name}={own} and {PREFIX}{key.upper()}={alias} differ; false wins."
            )
        if alias == "auto" or (own == "false" and alias == "true"):
            found[key], names[key] = own, own_name
    return Environment(found, names, tuple(warnings))


def key_of(name: str) -> str:
    """The flag that a word of an operator means: its key, or the name of one of its variables."""
    for key, own_name in OWN_NAMES.items():
        if name == own_name:
            return key
    return name.removeprefix(PREFIX).lower() if name.startswith(PREFIX) else name


def stricter(fixed: Mapping[str, TriState], file: Mapping[str, TriState]) -> dict[str, TriState]:
    """Words of two sources: a false of either wins, else what the first says."""
    words = {**file, **{name: word for name, word in fixed.items() if word != "auto"}}
    return {**words, **{name: word for name, word in file.items() if word == "false"}}
