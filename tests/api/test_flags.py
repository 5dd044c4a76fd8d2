"""Administration of flags over HTTP, on a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from apps.api.main import create_app
from apps.api.schemas.flags import (
    AuditReply,
    ChangedReply,
    ExplainReply,
    FlagDetails,
    FlagsReply,
    ImportReply,
    KillReply,
    ReloadReply,
)
from apps.core.settings import Settings
from apps.core.storage import flag_acks
from apps.core.storage.flag_acks import Ack
from tests.api.conftest import serving
from tests.fakes.clock import RunningClock
from tests.fakes.services import World

ROOT = "/api/v1/admin/flags"
PLACE = f"{ROOT}/debate_mode"
SWITCH = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}


@pytest.fixture
def world(sqlite_url: str) -> World:
    """Fakes, but flags in SQL."""
    return World(database_url=sqlite_url, clock=RunningClock())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home of its own, since a kill may write there."""
    return Settings(DTRAG_HOME=tmp_path)


@pytest.fixture
async def admin(world: World, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may read and write flags."""
    secret = world.stores.keys.add("flags:read", "flags:write")
    async with serving(create_app(settings, opening=world.opening)) as client:
        client.headers["X-API-Key"] = secret
        yield client


async def on(client: httpx.AsyncClient, **context: str) -> bool:
    """Whether the flag is on for a caller."""
    reply = await client.post(f"{ROOT}/evaluate", json={"context": context})
    assert reply.status_code == 200, reply.text
    return bool(reply.json()["flags"]["debate_mode"]["value"])


async def acknowledge(world: World, *acks: Ack) -> None:
    """Workers say which version they run."""
    assert world.stores.storage is not None
    for ack in acks:
        async with world.stores.storage.session() as s:
            await flag_acks.put(s, ack)


async def test_the_list_shows_every_flag(admin: httpx.AsyncClient) -> None:
    """Those of the code are there before SQL knows them; the filters filter."""
    found = FlagsReply.model_validate_json((await admin.get(f"{ROOT}/")).content)
    assert {"debate_mode", "reranker"} <= {flag.key for flag in found.flags}
    assert found.snapshot_version == 0
    await admin.patch(PLACE, json={"owner": "Answers", "expires_at": "2020-01-01"})
    by_owner = (await admin.get(ROOT, params={"q": "answ"})).json()["flags"]
    stale = (await admin.get(ROOT, params={"stale": 1})).json()["flags"]
    assert [flag["key"] for flag in by_owner] == [flag["key"] for flag in stale] == ["debate_mode"]


async def test_on_off_and_a_share(admin: httpx.AsyncClient) -> None:
    """Each holds on the next request."""
    reply = await admin.patch(f"{PLACE}/", json={"on": True, "reason": "시험"})
    changed = ChangedReply.model_validate_json(reply.content)
    assert (changed.default_variant, reply.headers["ETag"]) == ("on", '"1"')
    assert await on(admin, targetingKey="user-1")
    await admin.patch(PLACE, json={"on": False})
    assert not await on(admin, targetingKey="user-1")
    assert (await admin.patch(PLACE, json={"percent": 100})).json()["percent"] == 100
    assert await on(admin)
    rows = (await admin.get(f"{ROOT}/audit", params={"flag": "debate_mode"})).json()
    audit = AuditReply.model_validate(rows)
    assert audit.chain_ok
    assert [row.reason for row in audit.rows] == ["", "", "시험"]
    assert {row.actor for row in audit.rows} == {"key:k0"}
    assert (await admin.get("/api/v1/admin/audit?flag=debate_mode")).json() == rows


async def test_a_change_may_say_what_it_was_decided_on(admin: httpx.AsyncClient) -> None:
    """PUT must when there is something to replace: 428 without, 412 for another version."""
    place, body = f"{ROOT}/new-flag", {"definition": SWITCH, "owner": "me"}
    assert (await admin.put(place, json=body)).status_code == 200
    assert (await admin.put(place, json=body)).status_code == 428
    other = {"If-Match": '"0"'}
    assert (await admin.put(f"{ROOT}/other", json=body, headers=other)).status_code == 200
    assert (await admin.put(place, json=body, headers={"If-Match": "0"})).status_code == 412
    tag = (await admin.get(place)).headers["ETag"]
    body["owner"] = "you"
    assert (await admin.put(place, json=body, headers={"If-Match": tag})).status_code == 200
    stale = await admin.patch(place, json={"on": True}, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_conflict")
    assert (await admin.put(place, json=body, headers={"If-Match": "*"})).status_code == 200
    view = FlagDetails.model_validate_json((await admin.get(place)).content)
    assert (view.owner, view.version) == ("you", 3)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": "x"},
        {"on": True, "percent": 5},
        {"on": True, "owner": "x"},
        {"percent": 101},
        {"percent": "5"},
        {"definition": SWITCH, "state": "DISABLED"},
        {"definition": None},
        {"unknown": 1},
    ],
)
async def test_what_no_change_can_be(admin: httpx.AsyncClient, body: dict[str, object]) -> None:
    """Refused, and nothing is stored."""
    reply = await admin.patch(PLACE, json=body)
    assert reply.status_code == 422, reply.text
    assert (await admin.get(PLACE)).json()["version"] == 0


async def test_a_fault_has_a_pointer(admin: httpx.AsyncClient) -> None:
    """Into the body that was sent."""
    bad = {**SWITCH, "targeting": {"soon": [1]}}
    for body, pointer in (
        ({"definition": bad}, "/definition/targeting"),
        ({"targeting": {"soon": [1]}}, "/targeting"),
    ):
        reply = await admin.patch(PLACE, json=body)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_definition")
        assert reply.json()["pointer"].startswith(pointer)
        assert reply.json()["faults"]


async def test_on_under_a_veto(admin: httpx.AsyncClient, world: World) -> None:
    """409 names the variable and the hosts that reported it."""
    await acknowledge(world, Ack("a:1", "host-a", 0, ("debate_mode",)))
    reply = await admin.patch(PLACE, json={"on": True})
    problem = reply.json()
    assert reply.status_code == 409
    assert problem["blocked_by"] == "env:FEATURE_DEBATE_MODE=false"
    assert problem["hosts"] == ["host-a"]
    assert (await admin.get(PLACE)).json()["env"]["hosts"] == ["host-a"]


async def test_a_circle_is_refused(admin: httpx.AsyncClient) -> None:
    """Its own code says so."""
    body = {"metadata": {"prerequisites": "mcp_tools"}}
    reply = await admin.patch(f"{ROOT}/tools_policy", json=body)
    assert (reply.status_code, reply.json()["code"]) == (409, "prerequisite_cycle")


async def test_kill_and_unkill(admin: httpx.AsyncClient, world: World) -> None:
    """`wait=1` tells who has switched, and 202 who has not."""
    await admin.patch(PLACE, json={"on": True})
    await acknowledge(world, Ack("a:1", "a", 9), Ack("b:1", "b", 9))
    reply = await admin.post(f"{PLACE}/kill?wait=1", json={"reason": "timeouts"})
    found = KillReply.model_validate_json(reply.content)
    assert (reply.status_code, found.acked, found.expected, found.missing) == (200, 2, 2, [])
    assert set(found.switched or {}) == {"a:1", "b:1"}
    assert all(0 <= ms <= (found.elapsed_ms or 0) for ms in (found.switched or {}).values())
    assert not await on(admin)
    assert (await admin.post(f"{PLACE}/unkill")).status_code == 200
    assert await on(admin)
    await acknowledge(world, Ack("late:1", "c", 0))
    reply = await admin.post(f"{ROOT}/kill-all/?wait=1")
    assert (reply.status_code, reply.json()["missing"]) == (202, ["late:1"])
    assert set(reply.json()["switched"]) == {"a:1", "b:1"}
    assert reply.json()["elapsed_ms"] >= 1900
    assert not await on(admin)
    assert (await admin.post(f"{ROOT}/unkill-all", json={})).json()["acked"] is None
    assert await on(admin)


async def test_a_kill_without_a_database(
    admin: httpx.AsyncClient, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """202, and this worker skips the flag; other changes are 503."""
    from apps.core.errors import StorageDown

    def away(**_limits: object) -> None:
        raise StorageDown("The database cannot be reached.")

    await admin.patch(PLACE, json={"on": True})
    monkeypatch.setattr(world.stores.storage, "session", away)
    assert (await admin.post(f"{ROOT}/debat_mode/kill")).status_code == 404
    reply = await admin.post(f"{PLACE}/kill?wait=1", json={"reason": "fire"})
    assert (reply.status_code, reply.json()["local"]) == (202, True)
    assert (tmp_path / "KILL").read_text().strip() == "debate_mode  # key:k0 by rest: fire"
    assert not await on(admin)
    assert (await admin.patch(PLACE, json={"on": True})).status_code == 503
    (tmp_path / "KILL").unlink()
    (tmp_path / "KILL").mkdir()
    refused = await admin.post(f"{ROOT}/reranker/kill")
    assert (refused.status_code, "only this worker" in refused.json()["detail"]) == (503, True)


async def test_the_ladder_is_explained(admin: httpx.AsyncClient) -> None:
    """Each layer's opinion for a given caller, and the one that decided."""
    rules = {"if": [{"==": [{"var": "tenant"}, "pilot"]}, "on"]}
    await admin.patch(PLACE, json={"targeting": rules})
    place = f"{PLACE}/explain?targeting_key=user-1"
    found = ExplainReply.model_validate_json((await admin.get(place)).content)
    assert (found.value, found.decided_by) == (False, "CODE")
    pilot = (await admin.get(f"{place}&attr.tenant=pilot")).json()
    assert (pilot["value"], pilot["decided_by"]) == (True, "TARGETING")
    assert [step["layer"] for step in pilot["ladder"]][:2] == ["KILLED", "ENV_VETO"]
    await admin.patch(f"{ROOT}/reranker", json={"percent": 50})
    share = (await admin.get(f"{ROOT}/reranker/explain?targeting_key=user-1")).json()
    assert (share["percent"], share["unit_name"]) == (50, "user_id")
    assert share["value"] == (share["bucket"] < 50_000)
    assert (await admin.get(f"{ROOT}/none/explain")).status_code == 404


async def test_a_document_goes_out_and_in(admin: httpx.AsyncClient) -> None:
    """The same bytes again; a document with a fault changes nothing."""
    body = {"flags": {"f": {**SWITCH, "x": 1.0}}, "$evaluators": {"e": {"==": [1, 1]}}, "더": [1]}
    done = await admin.post(f"{ROOT}/import?mode=replace", json=body)
    assert ImportReply.model_validate_json(done.content).created == ["f"]
    first = (await admin.get(f"{ROOT}/export", params={"format": "flagd"})).content
    assert json.loads(first) == body, first
    assert (await admin.post(f"{ROOT}/import", content=first, headers=JSON)).json()["changed"] == []
    assert (await admin.get(f"{ROOT}/export")).content == first
    bad = {"flags": {"g": SWITCH, "h": {**SWITCH, "targeting": {"soon": []}}}}
    refused = await admin.post(f"{ROOT}/import", json=bad)
    assert (refused.status_code, refused.json()["pointer"]) == (422, "/flags/h/targeting/soon")
    tried = (await admin.post(f"{ROOT}/import?dry_run=1", json=bad)).json()
    assert (tried["dry_run"], tried["errors"][0]["pointer"]) == (True, "/flags/h/targeting/soon")
    assert (await admin.post(f"{ROOT}/import?lenient=1&dry_run=1", json=bad)).json()["created"]
    assert (await admin.get(f"{ROOT}/export")).content == first


JSON = {"Content-Type": "application/json"}


async def test_what_flagd_accepts_is_told_and_can_be_switched(admin: httpx.AsyncClient) -> None:
    """Weights of 0 come in with a warning, not by hand; the flag still obeys."""
    idle = {**SWITCH, "targeting": {"fractional": [["on", 0], ["off", 0]]}}
    done = await admin.post(f"{ROOT}/import", json={"flags": {"debate_mode": idle}})
    told = ImportReply.model_validate_json(done.content)
    assert [each.pointer for each in told.warnings] == ["/flags/debate_mode/targeting/fractional"]
    by_hand = await admin.patch(PLACE, json={"definition": idle})
    assert (by_hand.status_code, by_hand.json()["pointer"]) == (
        422,
        "/definition/targeting/fractional",
    )
    assert (await admin.patch(PLACE, json={"on": True})).status_code == 200
    assert (await admin.patch(PLACE, json={"targeting": idle["targeting"]})).status_code == 422


async def test_the_audit_is_paged(admin: httpx.AsyncClient) -> None:
    """The cursor leads through all rows once; the time and the actor filter."""
    for percent in range(1, 8):
        await admin.patch(PLACE, json={"percent": percent})
    seen: list[int] = []
    cursor: dict[str, int] = {}
    while True:
        page = (await admin.get(f"{ROOT}/audit", params={"limit": 3, **cursor})).json()
        seen += [row["id"] for row in page["rows"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    late = await admin.get(f"{ROOT}/audit", params={"since": "2100-01-01T00:00:00Z"})
    nobody = await admin.get(f"{ROOT}/audit", params={"actor": "nobody"})
    assert late.json()["rows"] == nobody.json()["rows"] == []


async def test_reload_tells_the_version(admin: httpx.AsyncClient) -> None:
    """And what became of the env file."""
    reply = ReloadReply.model_validate_json((await admin.post(f"{ROOT}/reload")).content)
    assert (reply.version, reply.env_file.ok) == (0, True)


async def test_who_may_read_may_not_write(admin: httpx.AsyncClient, world: World) -> None:
    """Two scopes."""
    headers = {"X-API-Key": world.stores.keys.add("flags:read")}
    assert (await admin.get(PLACE, headers=headers)).status_code == 200
    for path, body in ((PLACE, {"on": True}), (f"{PLACE}/kill", {}), (f"{ROOT}/import", {})):
        method = "PATCH" if path == PLACE else "POST"
        reply = await admin.request(method, path, json=body, headers=headers)
        assert reply.status_code == 403
    headers = {"X-API-Key": world.stores.keys.add("search")}
    assert (await admin.get(PLACE, headers=headers)).status_code == 403
    assert (await admin.post("/ofrep/v1/evaluate/flags", headers=headers)).status_code == 403
