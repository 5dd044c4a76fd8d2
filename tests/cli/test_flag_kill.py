"""`dtrag flags kill`: it works when nothing else does, and tells whom it reached."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from apps.cli import output
from apps.cli.main import app as dtrag
from apps.core.errors import StorageDown
from apps.core.flags import acks
from apps.core.flags.sources import killed_by
from apps.core.settings import load
from apps.core.storage import flag_acks
from apps.core.storage.engine import Storage
from apps.core.storage.flag_acks import Ack

KEY = "debate_mode"
Env = Mapping[str, str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever came first has made the console, perhaps for a narrow window."""
    monkeypatch.setattr(output.console, "width", 300)


@pytest.fixture
def env(sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    """A host whose env file alone names the database."""
    file = tmp_path / "service.env"
    file.write_text(f"DATABASE_URL={sqlite_url}\nDTRAG_HOME={tmp_path}/var\n")
    return {"DTRAG_ENV_FILE": str(file), "DTRAG_HOME": "", "DATABASE_URL": ""}


def typed(env: Env, *words: str) -> Result:
    return CliRunner().invoke(dtrag, ["flags", *words], env=env)


def listed(env: Env, key: str = KEY) -> dict[str, Any]:
    done = typed(env, "get", key, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def acknowledged(env: Env, *found: Ack) -> None:
    """Workers that have already seen these versions."""

    async def put() -> None:
        storage = await Storage.open(load(env))
        for ack in found:
            async with storage.session() as s:
                await flag_acks.put(s, ack)
        await storage.close()

    asyncio.run(put())


def test_a_broken_env_file_is_told_and_does_not_matter(env: dict[str, str]) -> None:
    """One sentence on the fault; the database that its sound lines name has the kill."""
    sound = Path(env["DTRAG_ENV_FILE"]).read_text()
    Path(env["DTRAG_ENV_FILE"]).write_text(f"{sound}FEATURE_X=$(date)\n")
    assert typed(env, "list").exit_code == 1
    done = typed(env, "kill", "FEATURE_DEBATE_MODE", "--reason", "incident 7")
    assert (done.exit_code, done.stdout) == (0, f"killed: {KEY}\n")
    assert "line 3: FEATURE_X holds a command substitution" in done.stderr
    assert "No worker has written" in done.stderr
    Path(env["DTRAG_ENV_FILE"]).write_text(sound)
    assert (listed(env)["now"], listed(env)["decided_by"]) == ("killed", "KILLED")


def test_wait_tells_who_has_switched(env: dict[str, str]) -> None:
    """Every worker with its time; exit 0."""
    acknowledged(env, Ack("a:1", "a", 9), Ack("b:1", "b", 9))
    done = typed(env, "kill", KEY, "--wait")
    assert done.exit_code == 0
    assert "2 of 2 workers switched in " in done.stdout
    assert "a:1 " in done.stdout
    told = json.loads(typed(env, "kill", "--all", "--wait", "--json").stdout)
    assert (told["killed"], told["acked"], told["expected"]) == (["every flag"], 2, 2)
    assert set(told["switched"]) == {"a:1", "b:1"}
    assert all(0 <= ms <= told["elapsed_ms"] for ms in told["switched"].values())


def test_wait_fails_when_a_worker_is_late(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill holds; who has not switched is named."""
    monkeypatch.setitem(acks.wait_for.__kwdefaults__, "limit_s", 0.0)
    acknowledged(env, Ack("a:1", "a", 9), Ack("late:1", "b", 0))
    done = typed(env, "kill", KEY, "--wait")
    assert done.exit_code == 1
    assert "1 of 2 workers switched" in done.stdout
    assert "missing: late:1" in done.stdout
    assert listed(env)["killed"]


def test_a_kill_that_is_stored_stays_one_when_the_database_goes(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has switched is unknown, which is said; no file is written in its place."""

    async def away(*_: object, **__: object) -> None:
        raise StorageDown("It does not answer.")

    monkeypatch.setattr(acks, "wait_for", away)
    done = typed(env, "kill", KEY, "--wait")
    assert (done.exit_code, done.stdout) == (1, f"killed: {KEY}\n")
    assert "The kill is stored." in done.stderr
    assert "Only this host" not in done.stderr
    assert (listed(env)["killed"], listed(env)["kill_files"]) == (True, [])


def test_a_flag_that_nobody_knows_stops_no_other(env: dict[str, str]) -> None:
    """It is named, and the exit code says that something is amiss."""
    done = typed(env, "kill", "debat_mode", KEY)
    assert (done.exit_code, done.stdout) == (1, f"killed: {KEY}\n")
    assert "no flag 'debat_mode'" in done.stderr
    assert listed(env)["killed"]


@pytest.mark.parametrize("database", ["postgresql://nobody@127.0.0.1:1/none", "mysql://db"])
def test_without_a_database_this_host_is_killed(
    env: dict[str, str], tmp_path: Path, database: str
) -> None:
    """The KILL file is written and named; `--wait` cannot be satisfied."""
    away = {**env, "DATABASE_URL": database, "DTRAG_HOME": str(tmp_path / "new")}
    done = typed(away, "kill", KEY, "mine")
    assert (done.exit_code, done.stdout) == (0, f"killed: {KEY}, mine\n")
    file = tmp_path / "new" / "KILL"
    lines = [line.partition("  # cli:")[::2] for line in file.read_text().split("\n") if line]
    assert [key for key, _ in lines] == [KEY, "mine"]
    assert all(note.endswith(" by cli") for _, note in lines)
    for words in ("Only this host", str(file), "knows no flag 'mine'"):
        assert words in done.stderr
    told = typed(away, "kill", "--all", "--wait", "--json")
    assert told.exit_code == 1
    body = json.loads(told.stdout)
    assert (body["local"], body["kill_file"], body["acked"]) == (True, str(file), None)
    assert killed_by(file.read_bytes()) == {KEY, "mine", "*"}


def test_a_host_that_can_write_nothing_says_so(env: dict[str, str], tmp_path: Path) -> None:
    """Neither database nor file: nothing was killed, and nobody may think so."""
    (tmp_path / "file").touch()
    nowhere = {**env, "DATABASE_URL": "mysql://db", "DTRAG_HOME": str(tmp_path / "file")}
    done = typed(nowhere, "kill", KEY)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Nothing was killed" in done.stderr


def test_a_kill_file_of_another_host_is_listed(env: dict[str, str]) -> None:
    """Here the flag is as it was; the list says where it is off."""
    report = {"words": {}, "kills": [KEY], "kill_place": "/srv/KILL on far", "nodes": []}
    acknowledged(env, Ack("far:1", "far", 1, report=report))
    found = listed(env)
    assert (found["killed"], found["now"]) == (False, "killed on far")
    assert found["kill_files"] == [{"host": "far", "place": "/srv/KILL on far"}]
    assert "killed on far" in typed(env, "list").stdout
