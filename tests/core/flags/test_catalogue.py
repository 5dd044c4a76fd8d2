"""The flags of the product and their variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.core.flags.catalogue import AGENTS, CATALOGUE, environment
from apps.core.settings import load

EXAMPLE = Path(__file__).parents[3] / ".env.production.example"


def test_the_seven_agents_have_the_names_of_the_requirements() -> None:
    """Each is in the example file too, and off."""
    assert {flag.environment_name for flag in AGENTS} == {
        "FEATURE_SOFT_Q_BANDIT", "FEATURE_DEBATE_MODE", "FEATURE_EXPERIENCE_REPLAY",
        "FEATURE_META_PLANNER", "FEATURE_NEURAL_CASE_SELECTOR", "FEATURE_MCP_TOOLS",
        "FEATURE_TOOLS_POLICY",
    }  # fmt: skip
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert all(f"{flag.environment_name}=false" in lines for flag in AGENTS)


def test_tools_need_their_policy() -> None:
    """The only prerequisite of the catalogue."""
    needed = {flag.key: flag.requires for flag in CATALOGUE if flag.requires}
    assert needed == {"mcp_tools": ("tools_policy",)}


@pytest.mark.parametrize(
    ("own", "alias", "word", "name"),
    [
        (None, None, "auto", "USE_HYBRID_SEARCH"),
        ("true", None, "true", "USE_HYBRID_SEARCH"),
        (None, "true", "true", "FEATURE_HYBRID_SEARCH"),
        ("true", "true", "true", "FEATURE_HYBRID_SEARCH"),
        ("auto", "false", "false", "FEATURE_HYBRID_SEARCH"),
        ("true", "false", "false", "FEATURE_HYBRID_SEARCH"),
        ("false", "true", "false", "USE_HYBRID_SEARCH"),
    ],
)
def test_a_retrieval_flag_has_two_names(
    own: str | None, alias: str | None, word: str, name: str
) -> None:
    """False wins, and two different words are told."""
    given = {"USE_HYBRID_SEARCH": own, "FEATURE_HYBRID_SEARCH": alias}
    found = environment(load({key: value for key, value in given.items() if value}))
    assert (found.words["hybrid_search"], found.names["hybrid_search"]) == (word, name)
    differ = own is not None and alias is not None and own != alias and "auto" not in (own, alias)
    assert len(found.warnings) == differ
    assert all(key in warning for warning in found.warnings for key in given)
