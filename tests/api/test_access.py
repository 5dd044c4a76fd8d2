"""Who may do what: every route of the OpenAPI page with every kind of caller."""

from __future__ import annotations

import httpx
import pytest

from apps.api.auth import is_local
from apps.api.main import ROUTERS, create_app
from apps.api.operation import METHODS_OF_PAGE, PUBLIC, SCOPE
from apps.core.domain.models import SCOPES
from apps.core.settings import Settings
from tests.api.conftest import serving
from tests.fakes.services import World
from tests.fakes.stores import FakeKey

PUBLIC_PATHS = {"/health", "/healthz", "/readyz", "/health/ready"}
KEYLESS = {"search", "answer", "feedback"}
PAGE = create_app(Settings()).openapi()
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in PAGE["paths"].items()
    for method, operation in methods.items()
    if method in METHODS_OF_PAGE
]
GUARDED = [(method, path, op[SCOPE]) for method, path, op in OPERATIONS if op[SCOPE] != PUBLIC]
PRODUCTION = {"ENVIRONMENT": "production", "SECRET_KEY": "0123456789abcdef" * 4}


def filled(path: str) -> str:
    """A path of the page with something for each parameter."""
    for name in ("answer_id", "doc_id", "job_id", "key_id", "run_id"):
        path = path.replace(f"{{{name}}}", "target")
    return path


async def call(client: httpx.AsyncClient, method: str, path: str, secret: str | None) -> int:
    """The status of a call with an empty body."""
    headers = {"X-API-Key": secret} if secret else {}
    reply = await client.request(method, filled(path), headers=headers)
    return reply.status_code


def test_the_public_list_is_closed() -> None:
    """Nothing else on the page is open to everybody."""
    assert {path for _, path, op in OPERATIONS if op[SCOPE] == PUBLIC} == PUBLIC_PATHS


def test_every_route_says_who_may_call_it() -> None:
    """A route that does not say so stops the application from being made."""
    for router in ROUTERS:
        for route in router.routes:
            assert SCOPE in route.openapi_extra  # type: ignore[attr-defined]


def test_the_page_tells_the_keys() -> None:
    """Guarded routes name both ways to show a key."""
    for method, path, op in OPERATIONS:
        assert ("security" in op) is (op[SCOPE] != PUBLIC), (method, path)


async def test_the_whole_matrix(world: World) -> None:
    """Nobody, a wrong key, a revoked key: 401; each scope opens its own routes, `admin` all."""
    secrets = {scope: world.stores.keys.add(scope) for scope in SCOPES}
    world.stores.keys.rows["target"] = FakeKey(id="target", scopes=("search",))
    revoked = world.stores.keys.add("admin")
    await world.stores.keys.revoke(revoked.removeprefix("secret-"))
    app = create_app(Settings(**PRODUCTION), opening=world.opening)  # type: ignore[arg-type]
    async with serving(app) as client:
        for method, path, needed in GUARDED:
            for nobody in (None, "wrong", "", revoked):
                assert await call(client, method, path, nobody) == 401, (method, path, nobody)
            for scope, secret in secrets.items():
                status = await call(client, method, path, secret)
                allowed = scope in {needed, "admin"} or needed == "metrics"
                assert (status not in {401, 403}) is allowed, (method, path, scope, status)


@pytest.mark.parametrize(
    ("environment", "peer", "base", "open_to"),
    [
        ("development", "127.0.0.1", "http://localhost", KEYLESS),
        ("development", "::1", "http://[::1]:8000", KEYLESS),
        ("development", "::ffff:127.0.0.1", "http://127.0.0.1:8000", KEYLESS),
        ("development", "10.0.0.7", "http://localhost", set()),
        ("development", "127.0.0.1", "http://evil.example", set()),
        ("test", "127.0.0.1", "http://localhost", set()),
        ("production", "127.0.0.1", "http://localhost", set()),
    ],
)
async def test_without_a_key(
    world: World, environment: str, peer: str, base: str, open_to: set[str]
) -> None:
    """Only development, only this machine, only search, answer and feedback."""
    settings = Settings(**{**PRODUCTION, "ENVIRONMENT": environment})  # type: ignore[arg-type]
    async with serving(create_app(settings, opening=world.opening), peer=peer, base=base) as client:
        for method, path, needed in GUARDED:
            status = await call(client, method, path, None)
            assert (status != 401) is (needed in open_to), (method, path, status)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_behind_a_proxy_nobody_is_local(client: httpx.AsyncClient, header: str) -> None:
    """A forwarded request needs a key, whatever address it claims."""
    reply = await client.post("/search", json={"q": "x"}, headers={header: "127.0.0.1"})
    assert reply.status_code == 401


async def test_a_wrong_key_is_not_no_key(client: httpx.AsyncClient) -> None:
    """Even where no key is needed, a wrong one is refused."""
    shown = (("X-API-Key", "x"), ("Authorization", "Bearer x"), ("Authorization", "Basic x"))
    for headers in (dict([each]) for each in shown):
        reply = await client.post("/search", json={"q": "x"}, headers=headers)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")


async def test_a_bearer_token_is_a_key(client: httpx.AsyncClient, world: World) -> None:
    """Both headers carry the same secret."""
    secret = world.stores.keys.add("search")
    headers = {"Authorization": f"bearer {secret}"}
    reply = await client.post("/search", json={"q": "x"}, headers=headers)
    assert reply.status_code == 200


async def test_a_key_with_addresses(world: World, settings: Settings) -> None:
    """The store is told the peer's address."""
    secret = world.stores.keys.add("search", allowed_ips=("10.0.0.7",))
    app = create_app(settings, opening=world.opening)
    for peer, status in (("10.0.0.7", 200), ("10.0.0.8", 401)):
        async with serving(app, peer=peer) as client:
            reply = await client.post("/search", json={"q": "x"}, headers={"X-API-Key": secret})
            assert reply.status_code == status


async def test_a_limit(client: httpx.AsyncClient, world: World) -> None:
    """The call after the last one is refused with the time to wait; a minute later it is not."""
    headers = {"X-API-Key": world.stores.keys.add("search", rate_limit_per_minute=2)}
    replies = [await client.post("/search", json={"q": "x"}, headers=headers) for _ in range(3)]
    assert [each.status_code for each in replies] == [200, 200, 429]
    assert [each.headers["ratelimit-remaining"] for each in replies] == ["1", "0", "0"]
    assert 1 <= int(replies[2].headers["retry-after"]) <= 61
    assert replies[2].json()["code"] == "rate_limited"
    world.clock.pass_s(60)
    reply = await client.post("/search", json={"q": "x"}, headers=headers)
    assert reply.status_code == 200
    assert world.usage.counted == ["k0"] * 4


def test_a_peer_without_an_address_is_not_local() -> None:
    """A Unix socket tells no address."""
    headers = {b"host": b"localhost"}
    assert not is_local({"client": None}, headers)
    assert not is_local({"client": ("somewhere", 1)}, headers)
