"""Every route that takes a body, with every kind of body that it must refuse."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from apps.api.main import create_app
from apps.core.settings import Settings
from tests.api.conftest import serving
from tests.fakes.services import World

SHAPE = {"type", "title", "status", "code", "detail", "request_id", "retryable"}
# route -> (a good body, a required field, a field with a limit and a value over it)
ROUTES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "/api/v1/search": ({"q": "x"}, "q", {"q": "x" * 2001}),
    "/search": ({"q": "x"}, "q", {"q": "x", "final_topk": 51}),
    "/api/v1/batch-search": ({"queries": ["x"]}, "queries", {"queries": ["x"] * 51}),
    "/answer": ({"question": "x"}, "question", {"question": "x" * 4001}),
    "/api/v1/answer": ({"question": "x"}, "question", {"question": "x", "final_topk": 21}),
    "/api/v1/pipeline/execute": ({"q": "x"}, "q", {"q": "x", "timeout_s": 601}),
    "/api/v1/feedback": (
        {"answer_id": "a", "rating": 5},
        "answer_id",
        {"answer_id": "a", "rating": 6},
    ),
    "/api/v1/documents": (
        {"documents": [{"title": "t", "text": "x"}]},
        "documents",
        {"documents": [{"title": "t" * 201, "text": "x"}]},
    ),
    "/api/v1/admin/api-keys": ({"name": "n"}, "name", {"name": "n", "expires_days": 99_999}),
}
DEEP = b"[" * 65 + b"]" * 65
RAW: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "not JSON": (b"{q: x}", 400),
    "wrong encoding": ('{"q": "질문"}'.encode("cp949"), 400),
    "NaN": (b'{"q": "x", "min_score": NaN}', 400),
    "a name twice": (b'{"q": "x", "q": "y"}', 400),
    "too deep": (b'{"q": ' + DEEP + b"}", 400),
    "ten thousand deep": (b"[" * 10_000 + b"]" * 10_000, 400),
    "a long number": (b'{"q": ' + b"9" * 5000 + b"}", 400),
    "a list": (b"[]", 422),
    "null": (b"null", 422),
    "a lone surrogate": (b'{"q": "\\ud800", "question": "\\ud800"}', 422),
    "a lone surrogate as a name": (b'{"\\ud800": 1}', 422),
}


@pytest.fixture
async def admin(world: World, settings: Settings) -> Any:
    """A client that may do everything."""
    secret = world.stores.keys.add("admin")
    async with serving(create_app(settings, opening=world.opening)) as client:
        client.headers["X-API-Key"] = secret
        yield client


def refused(reply: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of a refused request, whose shape is checked."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = reply.json()
    assert set(body) == SHAPE
    assert (body["status"], body["request_id"]) == (status, reply.headers["x-request-id"])
    return body


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("name", RAW)
async def test_bytes_that_are_no_usable_json(
    admin: httpx.AsyncClient, path: str, name: str
) -> None:
    """They are the caller's fault, told in one shape."""
    raw, status = RAW[name]
    reply = await admin.post(path, content=raw, headers={"Content-Type": "application/json"})
    refused(reply, status)


@pytest.mark.parametrize("path", ROUTES)
async def test_wrong_fields(admin: httpx.AsyncClient, path: str) -> None:
    """Missing, unknown, over a limit, of another type, null, or with NUL inside."""
    good, required, over = ROUTES[path]
    without = {key: value for key, value in good.items() if key != required}
    if path != "/api/v1/documents":
        assert refused(await admin.post(path, json=without), 422)["code"] == "missing_parameter"
    for bad in (
        without,
        over,
        {**good, "surprise": 1},
        {**good, required: 5},
        {**good, required: None},
        {**good, required: {"a": "b"}},
    ):
        refused(await admin.post(path, json=bad), 422)


@pytest.mark.parametrize("path", ["/api/v1/search", "/answer"])
async def test_text_with_nul_or_nothing_to_see(admin: httpx.AsyncClient, path: str) -> None:
    """A question must have something visible and nothing that SQL cannot store."""
    for text in ("\0", "a\0b", " \t\n"):
        refused(await admin.post(path, json={"q": text}), 422)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json; charset=cp949", "application/x-ndjson", ""]
)
async def test_other_content_types(admin: httpx.AsyncClient, path: str, content_type: str) -> None:
    """Only JSON in UTF-8 is read."""
    body = b'{"q": "x"}'
    reply = await admin.post(path, content=body, headers={"Content-Type": content_type})
    refused(reply, 415)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_large_body_by_its_length(admin: httpx.AsyncClient, path: str) -> None:
    """What announces itself as too large is not read at all."""
    reply = await admin.post(
        path, content=b"{}", headers={"Content-Length": "99999999999", "X-Request-ID": "r1"}
    )
    assert refused(reply, 413)["request_id"] == "r1"


async def test_a_large_body_without_a_length(admin: httpx.AsyncClient) -> None:
    """A stream is cut off at the limit, not collected."""
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 100 * (1 << 20):
            sent += 1 << 16
            yield b" " * (1 << 16)

    reply = await admin.post(
        "/search", content=endless(), headers={"Content-Type": "application/json"}
    )
    refused(reply, 413)
    assert sent <= (1 << 20) + (1 << 17)


async def test_a_document_may_be_larger_than_a_question(
    admin: httpx.AsyncClient, world: World
) -> None:
    """Uploads have a limit of their own."""
    text = "가" * 700_000
    reply = await admin.post(
        "/api/v1/documents", json={"documents": [{"title": "t", "text": text}]}
    )
    assert reply.status_code == 202
    assert len(world.intake.items[0].content) == 3 * 700_000
