"""One caller, three doors: the command line, REST and OFREP decide every flag alike.

The worker has a database, an env file, a KILL file and an environment of its own. The command line
of its host knows the first three, and what the worker reports of the last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from apps.api.main import create_app
from apps.cli.main import app as dtrag
from apps.core.flags.admin import FlagAdmin, Wish
from apps.core.flags.definition import parse_document
from apps.core.flags.edits import Edit
from apps.core.flags.store import FlagStore
from apps.core.flags.upkeep import Upkeep
from apps.core.settings import load
from tests.api.conftest import serving
from tests.fakes.services import World

KEY = "debate_mode"
ME = Wish("key:me", "rest")
RULES = {"if": [{"==": [{"var": "tenant"}, "pilot"]}, "on"]}
SWITCH = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
Act = Callable[[FlagAdmin], Awaitable[object]]


def edited(edit: Edit, key: str = KEY) -> Act:
    return lambda admin: admin.edit(key, edit, wish=ME)


def defined(**members: object) -> Act:
    document = parse_document({"flags": {KEY: {**SWITCH, **members}}})
    return lambda admin: admin.take_in(document, mode="merge", wish=ME)


async def killed(admin: FlagAdmin) -> None:
    await admin.edit(KEY, Edit(on=True), wish=ME)
    await admin.kill(KEY, wish=ME)


async def all_killed(admin: FlagAdmin) -> None:
    await admin.kill_all(wish=ME)


async def nothing(_admin: FlagAdmin) -> None: ...


@dataclass(frozen=True)
class Case:
    """How a layer comes to decide.

    file, kill: contents of the host's files; process: the worker's own environment.
    """

    layer: str
    act: Act = nothing
    file: str = ""
    kill: str = ""
    process: Mapping[str, str] = field(default_factory=dict)
    key: str = KEY
    on: bool = False


PEOPLE = {"allow": "user_id:user-1", "deny": "tenant:other"}
CASES = {
    "killed in the database": Case("KILLED", killed),
    "all killed": Case("KILLED", all_killed),
    "named in the KILL file": Case("KILLED", edited(Edit(on=True)), kill="FEATURE_DEBATE_MODE\n"),
    "a KILL file for all": Case("KILLED", file="FEATURE_DEBATE_MODE=false\n", kill="*\n"),
    "forbidden by the file": Case("ENV_VETO", file="FEATURE_DEBATE_MODE=off\n"),
    "forbidden by the process": Case("ENV_VETO", process={"FEATURE_DEBATE_MODE": "false"}),
    "the stricter of both": Case(
        "ENV_VETO", file="FEATURE_DEBATE_MODE=false\n", process={"FEATURE_DEBATE_MODE": "true"}
    ),
    "an alias": Case("ENV_VETO", file="FEATURE_RERANKER=false\n", key="reranker"),
    "disabled": Case("STATE", defined(state="DISABLED")),
    "a prerequisite": Case("PREREQUISITE", edited(Edit(on=True), "mcp_tools"), key="mcp_tools"),
    "a rule": Case("TARGETING", defined(targeting=RULES), on=True),
    "a list": Case("TARGETING", defined(metadata=PEOPLE), on=True),
    "a share, in": Case("ROLLOUT", edited(Edit(percent=60.0)), on=True),
    "a share, out": Case("ROLLOUT", edited(Edit(percent=40.0))),
    "on for all": Case("SQL_DEFAULT", edited(Edit(on=True)), on=True),
    "off for all": Case("SQL_DEFAULT", edited(Edit(on=False)), file="FEATURE_DEBATE_MODE=true\n"),
    "allowed by the file": Case("ENV", file="FEATURE_DEBATE_MODE=true\n", on=True),
    "allowed by the process": Case("ENV", process={"FEATURE_DEBATE_MODE": "yes"}, on=True),
    "nobody says anything": Case("CODE"),
    "nobody says anything of a retrieval flag": Case("CODE", key="reranker"),
}


@pytest.mark.parametrize("reported", [True, False], ids=["worker", "alone"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_all_doors_agree(case: Case, reported: bool, sqlite_url: str, tmp_path: Path) -> None:
    """Value, variant, reason, layer and the whole ladder; the list names the layer and its place.

    With a live worker the shell of the operator knows nothing of its environment; without one the
    shell's own counts.
    """
    env = {
        "DTRAG_HOME": str(tmp_path),
        "DATABASE_URL": sqlite_url,
        "DTRAG_ENV_FILE": str(tmp_path / "service.env"),
    }
    (tmp_path / "service.env").write_text(case.file)
    if case.kill:
        (tmp_path / "KILL").write_text(case.kill)
    world = World(database_url=sqlite_url)
    secret = world.stores.keys.add("flags:read")
    settings = load({**env, **case.process})
    async with serving(create_app(settings, opening=world.opening)) as client:
        client.headers["X-API-Key"] = secret
        store = client._transport.app.services.flags  # type: ignore[attr-defined]
        assert isinstance(store, FlagStore)
        await case.act(FlagAdmin(world.stores.storage, store, world.clock))
        if reported:
            await Upkeep(store, world.clock).acknowledge()
        shell = env if reported else {**env, **case.process}
        told = await asyncio.to_thread(typed, shell, case.key)
        await compare(case, client, *told)


def typed(
    env: Mapping[str, str], key: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What `explain`, `get` and `list` print."""
    who = ("--targeting-key", "user-1", "--attr", "tenant=pilot")
    found = []
    for words in (("explain", key, *who), ("get", key), ("list",)):
        done = CliRunner().invoke(dtrag, ["flags", *words, "--json"], env=env)
        assert done.exit_code == 0, done.output
        found.append(json.loads(done.stdout))
    listed = next(flag for flag in found[2]["flags"] if flag["key"] == key)
    return found[0], found[1], listed


async def compare(
    case: Case,
    client: httpx.AsyncClient,
    explained: dict[str, Any],
    got: dict[str, Any],
    listed: dict[str, Any],
) -> None:
    place = f"/api/v1/admin/flags/{case.key}"
    query = {"targeting_key": "user-1", "attr.tenant": "pilot"}
    assert explained == (await client.get(f"{place}/explain", params=query)).json()
    assert (explained["decided_by"], explained["value"] is True) == (case.layer, case.on)
    context = {"context": {"targetingKey": "user-1", "tenant": "pilot"}}
    remote = (await client.post(f"/ofrep/v1/evaluate/flags/{case.key}", json=context)).json()
    assert remote["metadata"]["layer"] == explained["decided_by"]
    for name in ("value", "variant", "reason"):
        assert remote.get(name) == explained[name]
    one = (await client.get(place)).json()
    many = (await client.get("/api/v1/admin/flags")).json()["flags"]
    seen = next(flag for flag in many if flag["key"] == case.key)
    for name in seen.keys() & listed.keys():
        assert one[name] == seen[name] == got[name] == listed[name], name
    if case.layer in {"KILLED", "ENV_VETO", "ENV", "SQL_DEFAULT"}:
        steps = {step["layer"]: step["detail"] for step in explained["ladder"]}
        assert (listed["decided_by"], listed["because"]) == (case.layer, steps[case.layer])
    if case.kill:
        assert "KILL on " in listed["because"]
        assert listed["now"] == "killed"
