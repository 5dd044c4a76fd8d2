"""The layer around every request."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from apps.api.errors import on_error
from apps.api.exchange import Exchange, exchange_of
from apps.api.main import create_app
from apps.api.middleware import Limits, Shell
from apps.api.records import Finished, Records
from apps.core.errors import LimitReached
from apps.core.settings import Settings
from tests.api.conftest import serving
from tests.api.test_bad_input import refused
from tests.fakes.clock import FakeClock
from tests.fakes.services import World


class Kept:
    """Records that a test can read."""

    def __init__(self) -> None:
        self.requests: list[Finished] = []
        self.errors: list[BaseException] = []

    def finished(self, request: Finished) -> None:
        self.requests.append(request)

    def failed(self, request_id: str, error: BaseException) -> None:
        self.errors.append(error)


def around(app: Any, kept: Kept, *, request_s: float = 5.0) -> Shell:
    """The layer around a bare application."""
    limits = Limits(body_bytes=10, upload_bytes=20, request_s=request_s)
    return Shell(app, limits=limits, clock=FakeClock(), records=kept)  # type: ignore[arg-type]


async def ask(shell: Shell, **headers: str) -> httpx.Response:
    """One GET."""
    transport = httpx.ASGITransport(shell, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/x/", headers=headers)


async def test_an_unforeseen_error_carries_an_id_and_nothing_else() -> None:
    """The body has no path, SQL or stack; the log has the error."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("SELECT secret FROM /etc/passwd")

    kept = Kept()
    reply = await ask(around(broken, kept))
    problem = refused(reply, 500)
    assert problem["code"] == "system_failure"
    assert "SELECT" not in reply.text
    assert "passwd" not in reply.text
    assert [str(each) for each in kept.errors] == ["SELECT secret FROM /etc/passwd"]
    assert kept.requests[0].status == 500


async def test_the_deadline() -> None:
    """A request that takes too long is answered 504 and may be tried again."""

    async def forever(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    problem = refused(await ask(around(forever, Kept(), request_s=0.01)), 504)
    assert (problem["code"], problem["retryable"]) == ("deadline_exceeded", True)


async def test_a_timeout_of_somebody_else_is_not_the_deadline() -> None:
    """An error that only looks like ours is a failure with a traceback."""

    async def slow_disk(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError

    kept = Kept()
    refused(await ask(around(slow_disk, kept)), 500)
    assert len(kept.errors) == 1


async def test_one_spelling_inside() -> None:
    """A trailing slash is gone before the routes look."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await ask(around(app, Kept()))
    assert seen == ["/x"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("trace-1", True), ("a" * 129, False), ("with space", False), ("<script>", False)],
)
async def test_the_request_id(client: httpx.AsyncClient, given: str, *, kept: bool) -> None:
    """A harmless id is echoed; any other is replaced."""
    reply = await client.get("/healthz", headers={"X-Request-ID": given})
    assert (reply.headers["x-request-id"] == given) is kept


async def test_unknown_paths_and_methods(client: httpx.AsyncClient) -> None:
    """404 and 405 have the shape of every failure."""
    assert refused(await client.get("/nothing"), 404)["code"] == "not_found"
    reply = await client.get("/api/v1/search")
    assert refused(reply, 405)["code"] == "method_not_allowed"
    assert reply.headers["allow"] == "POST"


async def test_head_is_get_without_its_body(client: httpx.AsyncClient) -> None:
    """Monitors ask so (RFC 9110, 9.3.2): same status and headers, also for what is refused."""
    for path in ("/healthz", "/docs", "/openapi.json", "/nothing"):
        asked, got = await client.head(path), await client.get(path)
        assert (asked.status_code, asked.content) == (got.status_code, b"")
        assert asked.headers["content-type"] == got.headers["content-type"]
        assert int(asked.headers["content-length"]) > 0
    refused_ = await client.head("/answer")
    assert (refused_.status_code, refused_.headers["allow"]) == (405, "POST")


async def test_security_headers_stand_on_everything(client: httpx.AsyncClient) -> None:
    """Pages, replies and failures alike; no other origin is let in."""
    for path in ("/", "/docs", "/healthz", "/nothing"):
        reply = await client.get(path, headers={"Origin": "https://example.org"})
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self';" in reply.headers["content-security-policy"]
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(("wait_s", "header"), [(0.2, "1"), (2.5, "3")])
async def test_retry_after_is_whole_seconds(wait_s: float, header: str) -> None:
    """The header counts up, never to 0."""
    reply = await on_error(_request(), LimitReached("full", retry_after_s=wait_s))
    assert reply.headers["retry-after"] == header


async def test_what_the_framework_says_of_its_own_failures_stays_here() -> None:
    """Only what the caller did wrong is told in the framework's words."""
    reply = await on_error(_request(), HTTPException(503, "pool at 10.0.0.7 is empty"))
    assert b"10.0.0.7" not in bytes(reply.body)
    reply = await on_error(_request(), HTTPException(400, "No boundary."))
    assert b"No boundary." in bytes(reply.body)


def _request() -> Request:
    return Request({"type": "http", "headers": [], "dtrag.exchange": _exchange()})


def _exchange() -> Any:
    return Exchange("r", 0.0, 1.0)


async def test_the_line_of_a_request(settings: Settings) -> None:
    """One line of JSON a request, without the path and with the id masked."""
    out = io.BytesIO()
    records = Records(settings, FakeClock(), out=out)
    records.finished(Finished("010-1234-5678", "POST", "/answer", 200, 1.23456, "k1", None))
    records.flush()
    line = json.loads(out.getvalue())
    assert line["event"] == "http.completed"
    assert (line["route"], line["status"], line["duration_ms"]) == ("/answer", 200, 1.235)
    assert "1234-5678" not in out.getvalue().decode()


async def test_no_lines_above_info() -> None:
    """LOG_LEVEL=WARNING silences requests, never their counts."""
    out = io.BytesIO()
    records = Records(Settings(LOG_LEVEL="WARNING"), FakeClock(), out=out)
    records.finished(Finished("r", "POST", "/answer", 200, 1.0, None, None))
    records.flush()
    assert out.getvalue() == b""


async def test_a_caller_who_hangs_up_while_sending(world: World, settings: Settings) -> None:
    """Nothing is answered, nothing is logged as a failure."""
    kept = Kept()
    app = create_app(settings, opening=world.opening)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/search",
        "raw_path": b"/search",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    async with serving(app):
        await around(app.router, kept)(dict(scope, app=app), receive, send)
    assert sent == []
    assert kept.errors == []
    assert kept.requests[0].status == 499


def test_the_record_is_in_the_scope() -> None:
    """Routes find it by one name."""
    exchange = _exchange()
    assert exchange_of({"dtrag.exchange": exchange}) is exchange


async def test_which_routes_pass_the_framework(world: World, settings: Settings) -> None:
    """Plain searches do; below a proxy's prefix the framework takes the path apart first."""
    app = create_app(settings, opening=world.opening)
    seen: list[str] = []

    async def framework(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await app.framework(scope, receive, send)

    assert isinstance(app.outermost, Shell)
    app.outermost.app = framework
    question = {"q": "x"}
    async with serving(app) as client:
        for path in ("/search", "/search/", "/api/v1/search", "/api/v1/batch-search"):
            body = question if "batch" not in path else {"queries": ["x"]}
            assert (await client.post(path, json=body)).status_code == 200
        assert seen == []
        assert (await client.get("/search")).status_code == 405
        assert (await client.post("/answer", json={"question": "x"})).status_code == 200
        assert seen == ["/search", "/answer"]
        transport = httpx.ASGITransport(app, root_path="/docs-service")
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as below:
            reply = await below.post("/docs-service/search", json=question)
        assert (reply.status_code, seen[2:]) == (200, ["/docs-service/search"])


@pytest.mark.parametrize("path", ["/search", "/api/v1/answers/x"])
async def test_what_no_route_foresaw_is_one_problem(
    world: World, settings: Settings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the framework and through it: no plain text of the framework's own."""

    async def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("secret")

    app = create_app(settings, opening=world.opening)
    async with serving(app) as client:
        monkeypatch.setattr(world.searcher, "search", broken)
        monkeypatch.setattr(world.stores.answers, "find", broken)
        asked = {"json": {"q": "x"}} if path == "/search" else {}
        reply = await client.request("POST" if asked else "GET", path, **asked)
    assert refused(reply, 500)["code"] == "system_failure"
    assert "secret" not in reply.text
