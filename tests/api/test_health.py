"""Health, metrics, cache and pages."""

from __future__ import annotations

import re

import httpx
import pytest

from apps.api.main import create_app
from apps.api.routes.pages import ASSETS
from apps.api.schemas.health import AliveReply, HealthReply, ReadyReply
from apps.api.schemas.metrics import MetricsReply
from apps.core.errors import StorageDown
from apps.core.settings import Settings
from tests.api.conftest import serving
from tests.fakes.services import World


async def test_health_in_one_word(client: httpx.AsyncClient, world: World) -> None:
    """Healthy; degraded without Redis; 503 without the database."""
    body = HealthReply.model_validate_json((await client.get("/health")).content)
    assert (body.status, body.database, body.redis) == ("healthy", "connected", "not_configured")
    world.cache.redis = "disconnected"
    assert (await client.get("/health")).json()["status"] == "degraded"
    world.stores.down = True
    reply = await client.get("/health")
    assert (reply.status_code, reply.json()["database"]) == (503, "disconnected")


async def test_liveness_asks_nobody(client: httpx.AsyncClient, world: World) -> None:
    """It stays 200 while everything else is away."""
    world.stores.down = True
    reply = await client.get("/healthz")
    assert reply.status_code == 200
    AliveReply.model_validate_json(reply.content)


@pytest.mark.parametrize("path", ["/readyz", "/health/ready"])
async def test_readiness_names_each_check(
    client: httpx.AsyncClient, world: World, path: str
) -> None:
    """Index and database are broken in turn; the body says which."""
    body = ReadyReply.model_validate_json((await client.get(path)).content)
    assert (body.ready, body.search, body.answer) == (True, True, True)
    assert (body.vectors.done, body.vectors.total) == (0, 5)
    world.stores.down = True
    reply = await client.get(path)
    assert reply.status_code == 503
    assert reply.json()["checks"]["database"] == {
        "ok": False,
        "detail": "The database does not answer.",
    }
    assert reply.json()["search"] is True
    world.stores.down = False
    world.searcher.version = None
    reply = await client.get(path)
    assert (reply.status_code, reply.json()["checks"]["index"]["ok"]) == (503, False)


async def test_readiness_while_loading(world: World, settings: Settings) -> None:
    """Search may be ready before anything else; a failed part tells why."""
    world.ready = False
    app = create_app(settings, opening=world.opening)
    async with serving(app) as client:
        reply = await client.get("/readyz")
        assert (reply.status_code, reply.json()["search"], reply.json()["answer"]) == (
            503,
            True,
            False,
        )
        assert (await client.post("/search", json={"q": "x"})).status_code == 200
        assert (await client.get("/health")).json()["database"] == "loading"
        app.services.stores.fail(StorageDown("The schema is behind."))
        checks = (await client.get("/readyz")).json()["checks"]
        assert checks["database"]["detail"] == "The schema is behind."
        assert (await client.get("/api/v1/answers/x")).status_code == 503


async def scraped(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    """One figure of /metrics."""
    families = MetricsReply.model_validate_json(
        (await client.get("/metrics?format=json")).content
    ).metrics
    values = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(value or 0.0 for value in values)


async def test_requests_move_the_counters_exactly(world: World) -> None:
    """Seven searches add seven, in both forms."""
    app = create_app(Settings(METRICS_PUBLIC=True), opening=world.opening)
    async with serving(app) as client:
        before = await scraped(client, "search_api_requests_total", outcome="ok")
        for _ in range(7):
            await client.post("/search", json={"q": "x"})
        assert await scraped(client, "search_api_requests_total", outcome="ok") == before + 7
        text = await client.get("/metrics")
        assert text.headers["content-type"].startswith("text/plain")
        assert "search_api_request_duration_bucket" in text.text
        accepted = await client.get("/metrics", headers={"Accept": "application/json"})
        assert accepted.headers["content-type"] == "application/json"


async def test_metrics_need_a_key_or_permission(client: httpx.AsyncClient, world: World) -> None:
    """Any key opens them; nobody without one."""
    assert (await client.get("/metrics")).status_code == 401
    headers = {"X-API-Key": world.stores.keys.add("search")}
    assert (await client.get("/metrics", headers=headers)).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_the_cache(client: httpx.AsyncClient, world: World, prefix: str) -> None:
    """It is told and emptied under both prefixes."""
    client.headers["X-API-Key"] = world.stores.keys.add("admin")
    stats = await client.get(f"{prefix}/admin/cache/stats")
    assert stats.json() == {"stats": {"entries": 0, "hits": 0, "misses": 0}}
    assert (await client.post(f"{prefix}/admin/cache/clear/?pattern=answer:*")).json() == {
        "cleared": 0
    }
    assert (await client.delete(f"{prefix}/admin/cache/clear")).status_code == 200
    assert world.cache.cleared == ["answer:", ""]


async def test_pages_need_no_network(client: httpx.AsyncClient) -> None:
    """Everything that a page loads comes from here, and scripts stand in files of their own."""
    for path in ("/", "/docs", "/docs/"):
        reply = await client.get(path)
        assert reply.headers["content-type"].startswith("text/html")
        for place in re.findall(r'(?:src|href)="([^"]+)"', reply.text):
            assert place.startswith("/")
            assert (await client.get(place)).status_code == 200, place
        assert not re.search(r"<script(?![^>]*src=)|\son[a-z]+=", reply.text)


async def test_assets(client: httpx.AsyncClient) -> None:
    """Only what is on the list, whatever the path says."""
    for name in ASSETS:
        assert (await client.get(f"/ui/{name}")).status_code == 200
    for name in ("__init__.py", "..%2fmain.py", "../main.py", "vendor/LICENSE", ""):
        assert (await client.get(f"/ui/{name}")).status_code == 404


async def test_both_languages_have_every_text(client: httpx.AsyncClient) -> None:
    """No message is missing in one language, and the page uses no other."""
    catalogue = (await client.get("/ui/messages.js")).text
    korean, english = catalogue.split("  en: {")
    names = [set(re.findall(r"^    (\w+):", part, re.MULTILINE)) for part in (korean, english)]
    assert names[0] == names[1]
    page = (await client.get("/")).text + (await client.get("/ui/page.js")).text
    used = set(re.findall(r'data-text="(\w+)"', page)) | set(re.findall(r'say\("(\w+)"\)', page))
    assert used == names[0]
