"""Administration of API keys."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from apps.api.main import create_app
from apps.api.schemas.keys import KeyReply, KeysReply, NewKeyReply, UsageReply
from apps.core.settings import Settings
from tests.api.conftest import serving
from tests.fakes.services import World

ROOT = "/api/v1/admin/api-keys"


@pytest.fixture
async def admin(world: World, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may do everything."""
    secret = world.stores.keys.add("admin")
    async with serving(create_app(settings, opening=world.opening)) as client:
        client.headers["X-API-Key"] = secret
        yield client


async def test_the_secret_is_shown_once(admin: httpx.AsyncClient) -> None:
    """It stands in the reply that makes the key and in no other."""
    wish = {"name": "reader", "scopes": ["search"], "expires_days": 90, "quota": 10}
    made = await admin.post(f"{ROOT}/", json=wish)
    assert made.status_code == 201
    new = NewKeyReply.model_validate_json(made.content)
    assert (new.rate_limit, new.quota) == (1000, 10)
    listed = await admin.get(ROOT)
    KeysReply.model_validate_json(listed.content)
    one = await admin.get(f"{ROOT}/{new.id}")
    KeyReply.model_validate_json(one.content)
    assert new.api_key not in listed.text + one.text


async def test_a_revoked_key_opens_nothing(admin: httpx.AsyncClient) -> None:
    """The next request with it is refused."""
    made = (await admin.post(ROOT, json={"name": "n", "scopes": ["search"]})).json()
    headers = {"X-API-Key": made["api_key"]}
    assert (await admin.post("/search", json={"q": "x"}, headers=headers)).status_code == 200
    revoked = await admin.delete(f"{ROOT}/{made['id']}")
    assert revoked.json()["revoked_at"] is not None
    assert (await admin.post("/search", json={"q": "x"}, headers=headers)).status_code == 401


async def test_change_rotate_and_usage(admin: httpx.AsyncClient) -> None:
    """A change keeps the secret, a rotation makes another one."""
    made = (await admin.post(ROOT, json={"name": "n"})).json()
    place = f"{ROOT}/{made['id']}"
    changed = await admin.put(place, json={"name": "m", "rate_limit": None})
    assert (changed.json()["name"], changed.json()["rate_limit"]) == ("m", None)
    rotated = await admin.post(f"{place}/rotate", json={})
    assert rotated.status_code == 201
    assert rotated.json()["rotated_from"] == made["id"]
    usage = UsageReply.model_validate_json((await admin.get(f"{place}/usage")).content)
    assert usage.total == 3


async def test_unknown_keys(admin: httpx.AsyncClient) -> None:
    """Each way to name a key that is not there is 404."""
    assert (await admin.get(f"{ROOT}/none")).status_code == 404
    assert (await admin.put(f"{ROOT}/none", json={"name": "n"})).status_code == 404
    assert (await admin.delete(f"{ROOT}/none")).status_code == 404
    assert (await admin.post(f"{ROOT}/none/rotate", json={})).status_code == 404
    assert (await admin.get(f"{ROOT}/none/usage")).status_code == 404


@pytest.mark.parametrize("bad", ["nowhere", "10.0.0.0/33", "::1::"])
async def test_an_address_that_is_none(admin: httpx.AsyncClient, bad: str) -> None:
    """A network that cannot be read is told before the key is made."""
    reply = await admin.post(ROOT, json={"name": "n", "allowed_ips": [bad]})
    assert reply.status_code == 422


async def test_keys_write_cannot_become_admin(admin: httpx.AsyncClient, world: World) -> None:
    """Whoever manages keys can neither give nor take over `admin`."""
    headers = {"X-API-Key": world.stores.keys.add("keys:write")}
    wish = {"name": "n", "scopes": ["admin"]}
    for reply in (
        await admin.post(ROOT, json=wish, headers=headers),
        await admin.put(f"{ROOT}/k0", json={"name": "n"}, headers=headers),
        await admin.post(f"{ROOT}/k0/rotate", json={}, headers=headers),
        await admin.delete(f"{ROOT}/k0", headers=headers),
    ):
        assert reply.status_code == 403
    ordinary = {"name": "n", "scopes": ["search", "documents:write"]}
    assert (await admin.post(ROOT, json=ordinary, headers=headers)).status_code == 201
