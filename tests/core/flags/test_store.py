"""The ladder of a flag when nothing but the environment speaks."""

from __future__ import annotations

import pytest

from apps.core.domain.flags import Flag, FlagDecision
from apps.core.errors import SystemFailure
from apps.core.flags.store import FlagStore
from apps.core.settings import load
from tests.fakes.clock import FakeClock

DEBATE = Flag("debate_mode", "Let readers argue.")
POLICY = Flag("tools_policy", "Ask before a tool runs.", requires=("mcp_tools",))
TOOLS = Flag("mcp_tools", "Call tools.")


def decided(*flags: Flag, **environment: str) -> dict[str, tuple[bool, str]]:
    settings = load({"DTRAG_HOME": "no-such-directory", **environment})
    found = FlagStore(settings, clock=FakeClock(), flags=flags).evaluate_all(None)
    return {key: (decision.on, decision.layer) for key, decision in found.items()}


def test_a_flag_is_off_by_default() -> None:
    """Silence means off, and the code is named as the reason."""
    assert decided(DEBATE)["debate_mode"] == (False, "CODE")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", (True, "ENV")),
        ("1", (True, "ENV")),
        ("false", (False, "ENV_VETO")),
        ("auto", (False, "CODE")),
    ],
)
def test_the_environment_has_three_values(value: str, expected: tuple[bool, str]) -> None:
    """True allows, false forbids, auto has no opinion."""
    assert decided(DEBATE, FEATURE_DEBATE_MODE=value)["debate_mode"] == expected


def test_a_flag_waits_for_its_prerequisite() -> None:
    """On needs every required flag on; an unknown one is never on."""
    alone = decided(TOOLS, POLICY, FEATURE_TOOLS_POLICY="true")
    assert alone["tools_policy"] == (False, "PREREQUISITE")
    both = decided(TOOLS, POLICY, FEATURE_TOOLS_POLICY="true", FEATURE_MCP_TOOLS="true")
    assert both["tools_policy"] == (True, "ENV")
    lonely = Flag("tools_policy", "Ask.", requires=("nowhere",))
    assert decided(lonely, FEATURE_TOOLS_POLICY="true")["tools_policy"] == (False, "PREREQUISITE")


def test_flags_in_a_circle_stop_the_start() -> None:
    """Two flags that wait for each other are a mistake in the code."""
    circle = Flag("mcp_tools", "Call tools.", requires=("tools_policy",))
    with pytest.raises(SystemFailure, match="circle"):
        decided(circle, POLICY, FEATURE_TOOLS_POLICY="true")


def test_decisions_are_frozen() -> None:
    """Nobody changes a decision during a request."""
    settings = load({"DTRAG_HOME": "no-such-directory"})
    found = FlagStore(settings, clock=FakeClock(), flags=[DEBATE]).evaluate_all(None)
    with pytest.raises(TypeError):
        found["debate_mode"] = FlagDecision(True, "x", "y")  # type: ignore[index]
