"""`dtrag flags` against a database of its own, without a server."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Typed, body


def flag(dtrag: Typed, key: str = "debate_mode") -> dict[str, object]:
    """One flag as the command line shows it to programs."""
    return body(dtrag("flags", "get", key, "--json"))


@pytest.mark.slow
def test_set_get_list_and_explain(dtrag: Typed) -> None:
    """By key or by variable, in the words of runbooks."""
    assert flag(dtrag)["now"] == "off"
    done = dtrag("flags", "set", "FEATURE_DEBATE_MODE=on", "USE_RERANKER=12.5%", "--reason", "시험")
    assert "debate_mode is on" in done.stdout
    assert flag(dtrag)["now"] == "on"
    assert flag(dtrag, "USE_RERANKER")["now"] == "12.5 %"
    listed = body(dtrag("flags", "list", "--json"))
    assert listed["snapshot_version"] == 2
    assert "debate_mode" in dtrag("flags", "list").stdout
    why = body(dtrag("flags", "explain", "reranker", "--targeting-key", "user-1", "--json"))
    assert (why["decided_by"], why["percent"]) == ("ROLLOUT", 12.5)
    assert "SQL_DEFAULT ←" in dtrag("flags", "explain", "debate_mode").stdout
    assert body(dtrag("flags", "set", "debate_mode=auto", "--json"))["flags"][0]["now"] == "off"


@pytest.mark.slow
def test_what_cannot_be_is_one_sentence(dtrag: Typed) -> None:
    """On stderr with exit code 1: typing errors, and a veto of the environment."""
    for words, env, said in (
        (("set", "debat_mode=on"), {}, "no flag"),
        (("set", "debate_mode=maybe"), {}, "not FLAG=on"),
        (("set", "debate_mode=101%"), {}, "not FLAG=on"),
        (("kill",), {}, "Name flags"),
        (("set", "debate_mode=on"), {"FEATURE_DEBATE_MODE": "false"}, "FEATURE_DEBATE_MODE=false"),
    ):
        done = dtrag("flags", *words, **env)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_kill_and_unkill(dtrag: Typed) -> None:
    """One flag, or all of them."""
    assert dtrag("flags", "kill", "mcp_tools", "--reason", "why").returncode == 0
    assert flag(dtrag, "mcp_tools")["now"] == "killed"
    assert dtrag("flags", "unkill", "mcp_tools").returncode == 0
    assert dtrag("flags", "kill", "--all").returncode == 0
    assert flag(dtrag, "tools_policy")["now"] == "killed"
    assert dtrag("flags", "unkill", "--all").returncode == 0
    assert flag(dtrag, "tools_policy")["now"] == "off"


@pytest.mark.slow
def test_export_and_import(dtrag: Typed, tmp_path: Path) -> None:
    """The same bytes again; a document with a fault is refused with its pointer."""
    dtrag("flags", "set", "soft_q_bandit=5%")
    file = tmp_path / "flags.json"
    assert dtrag("flags", "export", str(file)).returncode == 0
    assert body(dtrag("flags", "import", str(file), "--dry-run", "--json"))["changed"] == []
    assert body(dtrag("flags", "import", str(file), "--replace", "--json"))["removed"] == []
    assert dtrag("flags", "export").stdout == file.read_text("utf-8")
    file.write_text('{"flags": {"f": {"state": "ENABLED", "variants": {}}}}')
    refused = dtrag("flags", "import", str(file))
    assert refused.returncode == 1
    assert "/flags/f/variants" in refused.stderr
    assert dtrag("flags", "reload").returncode == 0


@pytest.mark.slow
def test_tampering_is_found_and_named(dtrag: Typed, home: Path) -> None:
    """`audit --verify` ends with 1 and says which row."""
    for word in ("on", "off", "on"):
        dtrag("flags", "set", f"experience_replay={word}")
    assert dtrag("flags", "audit", "--verify").returncode == 0
    assert "experience_replay" in dtrag("flags", "audit").stdout
    count = body(dtrag("flags", "audit", "--json"))["rows_checked"]
    (file,) = (home / "var").glob("*.db")
    with sqlite3.connect(file) as database:
        names = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'flag_audit'"
        ).fetchall()
        for (name,) in names:
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE flag_audit SET reason = 'x' WHERE id = ?", (count - 1,))
    done = dtrag("flags", "audit", "--verify")
    assert done.returncode == 1
    assert f"Row {count - 1} " in done.stderr
