"""`dtrag rollout create`, `start` … `rollback`, typed one after the other."""

from __future__ import annotations

import json

import pytest

from apps.cli.rollout_picture import bar
from tests.cli.conftest import Typed, body


@pytest.fixture(scope="module")
def made(dtrag: Typed) -> str:
    """The id of a draft."""
    policy = json.dumps({"auto_promote": False})
    return str(
        body(dtrag("rollout", "create", "debate_mode", "--stages", "10,50,100",
                   "--policy", policy, "--json"))["id"]
    )  # fmt: skip


def test_the_way_of_a_rollout(dtrag: Typed, made: str) -> None:
    """A flag's key means its newest rollout; a step needs proof or force."""
    started = body(dtrag("rollout", "start", "debate_mode", "--reason", "go", "--json"))
    assert (started["id"], started["state"], started["percent"]) == (made, "RUNNING", 10.0)
    blocked = dtrag("rollout", "promote", made)
    assert blocked.returncode == 1
    assert "dwell" in blocked.stderr
    forced = body(dtrag("rollout", "promote", made, "--force", "--json"))
    assert forced["percent"] == 50.0
    seen = body(dtrag("rollout", "status", made, "--json"))
    assert seen["last_human_action"]["actor"].startswith("cli:")
    shown = dtrag("rollout", "status", made).stdout
    assert "▶ 50 %" in shown
    thresholds = dict(
        line.split()[:: len(line.split()) - 1] for line in shown.splitlines() if "│" in line
    )
    assert (thresholds["error"], thresholds["feedback"]) == ("100", "20")
    assert body(dtrag("rollout", "pause", made, "--json"))["state"] == "HELD"
    assert body(dtrag("rollout", "resume", made, "--json"))["state"] == "RUNNING"
    stopped = body(dtrag("rollout", "rollback", made, "--wait", "--json"))
    assert (stopped["state"], stopped["expected"]) == ("ROLLED_BACK", 0)
    assert "ROLLED_BACK" in dtrag("rollout", "list", "--flag", "debate_mode").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("start", "nothing"),
        ("create", "debate_mode", "--stages", "a"),
        ("create", "debate_mode", "--policy", "[]"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(dtrag: Typed, words: tuple[str, ...]) -> None:
    """Exit code 1 and no traceback."""
    done = dtrag("rollout", *words)
    assert done.returncode == 1
    assert done.stderr.startswith("dtrag:")


@pytest.mark.parametrize(
    ("value", "filled"), [(0.0, 0), (0.1, 0), (1.0, 2), (100.0, 6), (1e300, 8)]
)
def test_evidence_is_drawn_on_a_log_scale(value: float, filled: int) -> None:
    """From a tenth to ten thresholds; the mark stands where a rollback is."""
    drawn = bar(value, 100.0, width=8)
    assert len(drawn) == 8
    assert drawn[6] == "│"
    assert drawn.replace("│", "█" if filled > 6 else "·").count("█") == filled


def test_the_way_of_an_experiment(dtrag: Typed) -> None:
    """Made, started, looked at, stopped."""
    made = body(dtrag("experiment", "create", "meta_planner", "--arms", "on=1,off=2", "--json"))
    assert body(dtrag("experiment", "start", made["id"], "--json"))["state"] == "RUNNING"
    shown = dtrag("experiment", "show", made["id"]).stdout
    assert "on against off" in shown
    assert "undecided" in shown
    assert "STOPPED" in dtrag("experiment", "stop", made["id"]).stdout
    assert made["id"] in dtrag("experiment", "list").stdout
    assert dtrag("experiment", "create", "meta_planner", "--arms", "on").returncode == 1
