"""Quickstart, doctor, ingest, search, answer and keys, one after another in one home."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from apps.api.schemas.search import SearchReply
from tests.cli.conftest import Typed, body
from tests.fakes.rerank import FakeRerankServer

KEY = re.compile(r"dtr_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{20,}")


@pytest.fixture(scope="module")
def prepared(dtrag: Typed) -> str:
    """What the first quickstart said."""
    done = dtrag("quickstart", "--no-serve")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_doctor_names_the_command_that_mends(dtrag: Typed, tmp_path: Path) -> None:
    """In an empty home two checks fail, each with a command, and the exit code is 1."""
    done = dtrag("doctor", DTRAG_HOME=str(tmp_path / "empty"))
    assert done.returncode == 1
    assert "alembic upgrade head" in done.stdout
    assert "dtrag quickstart --no-serve" in done.stdout


def test_quickstart_prints_one_key_and_three_lines_to_try(prepared: str) -> None:
    """A stranger sees the key and what to type next."""
    assert len(KEY.findall(prepared)) == 1
    assert len(re.findall(r"^curl ", prepared, re.M)) == 3


def test_a_second_quickstart_changes_nothing(prepared: str, dtrag: Typed) -> None:
    """No second key, no second sample."""
    done = dtrag("quickstart", "--no-serve")
    assert done.returncode == 0
    assert not KEY.search(done.stdout)
    assert "sample documents" not in done.stdout


def test_doctor_is_content_afterwards(prepared: str, dtrag: Typed) -> None:
    """Every check passes, and the JSON says the same as the table."""
    assert body(dtrag("doctor", "--json"))["ok"] is True


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What the doctor's JSON says, by check."""
    return {each["check"]: each for each in json.loads(done.stdout)["checks"]}


def test_doctor_sees_a_flag_that_nobody_has(prepared: str, dtrag: Typed, tmp_path: Path) -> None:
    """A slip in the name of a veto must not go unseen; a flag that an operator made is known."""
    file = tmp_path / "flags.json"
    made = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    file.write_text(json.dumps({"flags": {"new_thing": made}}))
    assert dtrag("flags", "import", str(file)).returncode == 0
    env = {"FEATURE_DEBATE_MODE": "false", "FEATURE_NEW_THING": "false"}
    assert findings(dtrag("doctor", "--json", **env))["flags"]["ok"] is True
    wrong = findings(dtrag("doctor", "--json", **env, FEATURE_DEBATE_MDOE="false"))["flags"]
    assert (wrong["ok"], wrong["mend"]) == (False, "dtrag flags list")
    assert wrong["found"] == "no such flag: FEATURE_DEBATE_MDOE"


def test_doctor_asks_the_reranker(prepared: str, dtrag: Typed) -> None:
    """It says whether it answers, and never with which key."""

    def said(**env: str) -> dict[str, Any]:
        done = dtrag("doctor", "--json", DTRAG_RERANKER_KEY="k-secret", **env)
        assert "k-secret" not in done.stdout + done.stderr
        found: dict[str, Any] = findings(done)["reranker"]
        return found

    assert said()["found"] == "not configured"
    with FakeRerankServer() as server:
        assert said(DTRAG_RERANKER=server.url)["found"] == server.url
        server.mode = "401"
        refused = said(DTRAG_RERANKER=server.url)
    assert (refused["ok"], refused["found"]) == (False, "The rerank server answered 401.")
    assert "DTRAG_RERANKER" in refused["mend"]


def test_a_reranker_that_cannot_be_stops_the_start(dtrag: Typed) -> None:
    """With one sentence that names the variable."""
    done = dtrag("serve", DTRAG_RERANKER="cohere")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "dtrag: DTRAG_RERANKER: must be none, llm, or an address that begins with http:// or "
        "https://."
    )


def test_search_finds_in_both_languages(prepared: str, dtrag: Typed) -> None:
    """The first hit is about what was asked."""
    korean = body(dtrag("search", "딥러닝의 주요 개념", "--json"))
    english = body(dtrag("search", "gradient descent", "--json"))
    assert "딥러닝" in korean["hits"][0]["title"]
    assert set(korean) == set(SearchReply.model_fields)
    assert "radient" in english["hits"][0]["text"]


def test_answer_cites_or_abstains(prepared: str, dtrag: Typed) -> None:
    """An answer carries quotes; an unknown matter gives the fixed sentence."""
    known = body(dtrag("answer", "딥러닝의 주요 개념은?", "--json"))
    unknown = body(dtrag("answer", "Who won the 1998 chess championship of Mars?", "--json"))
    assert known["citations"][0]["quote"]
    assert unknown["answer"] == "The provided documents do not contain the answer."


def test_ingest_reports_what_failed_and_keeps_the_rest(
    prepared: str, dtrag: Typed, tmp_path: Path
) -> None:
    """A broken file fails with a reason and exit code 1; its neighbour is searchable."""
    (tmp_path / "good.txt").write_text("The violet valve of the Borealis pump opens at noon.")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    done = dtrag("ingest", str(tmp_path))
    assert done.returncode == 1
    assert "broken.pdf" in done.stdout
    found = body(dtrag("search", "violet valve", "--json"))
    assert "Borealis" in found["hits"][0]["text"]


def test_ingest_leaves_out_what_is_hidden_and_what_is_too_large(
    prepared: str, dtrag: Typed, tmp_path: Path
) -> None:
    """A version control's folder is not read; a huge file costs only itself, and is counted."""
    (tmp_path / ".git" / "objects").mkdir(parents=True)
    (tmp_path / ".git" / "objects" / "one.txt").write_text("The sealed crate holds a tuba.")
    (tmp_path / "small.txt").write_text("The amber crate holds a flute.")
    (tmp_path / "large.txt").write_text("long " * 1000)
    made = dtrag("ingest", str(tmp_path), "--json", MAX_UPLOAD_BYTES="2000")
    assert made.returncode == 1
    view = json.loads(made.stdout)
    states = {item["name"]: (item["state"], item["error_code"]) for item in view["items"]}
    assert states == {"large.txt": ("failed", "too_large"), "small.txt": ("stored", None)}
    assert (view["counts"]["stored"], view["counts"]["failed"]) == (1, 1)
    told = dtrag("ingest", str(tmp_path), MAX_UPLOAD_BYTES="2000")
    assert "1 unchanged, 1 failed of 2 files" in told.stdout
    alone = dtrag("ingest", str(tmp_path / "large.txt"), MAX_UPLOAD_BYTES="2000")
    assert (alone.returncode, "2000 bytes" in alone.stderr) == (1, True)


def test_mode_search_shows_what_was_found(prepared: str, dtrag: Typed) -> None:
    """There is no answer to print, so the passages are."""
    done = dtrag("answer", "gradient descent", "--mode", "search")
    assert (done.returncode, "radient" in done.stdout) == (0, True)


def test_a_port_that_is_taken_stops_before_anything_else(
    prepared: str, dtrag: Typed, tmp_path: Path
) -> None:
    """One sentence that names the variable, no sample loaded for nothing, no log."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words in (("serve",), ("serve", "--workers", "2"), ("quickstart",)):
            done = dtrag(*words, API_PORT=port, DTRAG_HOME=str(tmp_path / "none"))
            assert done.returncode == 1
            assert done.stderr.strip() == (
                f"dtrag: Nobody can listen on 127.0.0.1:{port}: Address already in use; "
                "set API_HOST or API_PORT."
            )
            assert not done.stdout


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_home_that_cannot_be_is_told_at_once(dtrag: Typed, tmp_path: Path, place: str) -> None:
    """The server does not start without one, and the doctor names it."""
    (tmp_path / "file").write_text("")
    env = {"DTRAG_HOME": str(tmp_path / place), "API_PORT": "0"}
    done = dtrag("serve", **env)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert str(tmp_path / "file") in done.stderr
    checks = {
        each["check"]: each
        for each in json.loads(dtrag("doctor", "--json", **env).stdout)["checks"]
    }
    assert checks["home"]["ok"] is False
    assert checks["home"]["mend"]


def test_doctor_knows_which_packages_are_missing(prepared: str, dtrag: Typed) -> None:
    """A model or an embedder of a provider that is not installed is a finding, not a surprise."""
    done = dtrag("doctor", "--json", DTRAG_LLM="mistralai:m", DTRAG_EMBEDDER="mistralai:e")
    checks = findings(done)
    assert done.returncode == 1
    assert [checks[name]["ok"] for name in ("model", "embedder")] == [False, False]
    assert checks["model"]["found"].startswith("mistralai:m needs 'langchain-mistralai'")
    assert checks["model"]["mend"] == "pip install langchain-mistralai, or change DTRAG_LLM"
    assert checks["embedder"]["mend"] == "pip install langchain-mistralai, or change DTRAG_EMBEDDER"
    unknown = dtrag("doctor", DTRAG_LLM="nosuch:m", DTRAG_EMBEDDER="nosuch:e").stdout
    assert ("nosuch:m cannot be set up" in unknown, "nosuch:e cannot be set up" in unknown) == (
        True,
        True,
    )


def test_keys_are_made_listed_and_revoked(prepared: str, dtrag: Typed) -> None:
    """The secret is shown once; a revoked key is listed as inactive."""
    made = body(dtrag("keys", "create", "--name", "r", "--scopes", "search", "--json"))
    assert set(made) == {"id", "api_key", "scopes"}
    assert dtrag("keys", "revoke", made["id"]).returncode == 0
    listed = dtrag("keys", "list", "--json")
    rows = {row["id"]: row for row in body(listed)["keys"]}
    assert rows[made["id"]]["active"] is False
    assert made["api_key"] not in listed.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("search", "x", "--mode", "magic"), "magic"),
        (("answer", "x", "--mode", "judge"), "judge"),
        (("keys", "create", "--name", "x", "--scopes", "fly"), "fly"),
        (("keys", "revoke", "nobody"), "nobody"),
        (("keys", "create", "--name", " "), "name"),
        (("search", " "), "empty"),
        (("search", "x" * 2001), "2000"),
        (("answer", ""), "empty"),
        (("answer", "x" * 4001), "4000"),
    ],
)
def test_bad_input_is_one_sentence_on_stderr(
    prepared: str, dtrag: Typed, words: tuple[str, ...], said: str
) -> None:
    """Exit code 1, the wrong word quoted, nothing on stdout, no traceback."""
    done = dtrag(*words)
    assert done.returncode == 1
    assert said in done.stderr
    assert not done.stdout
    assert "Traceback" not in done.stderr


def test_an_unusable_setting_stops_with_its_name(dtrag: Typed) -> None:
    """One sentence that names the variable."""
    done = dtrag("doctor", API_PORT="many")
    assert done.returncode == 1
    assert "API_PORT" in done.stderr
    assert "Traceback" not in done.stderr
