"""A server of the operator's own is asked once, and its reply is bounded."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from apps.core.errors import BadReply, ProviderBusy, ProviderFailure
from apps.core.outbound.service import Service
from tests.fakes.rerank import FakeRerankServer

BODY = {"query": "q", "texts": ["a", "b"]}
KEY = "k-0123456789"


async def test_a_private_server_is_asked_with_the_key() -> None:
    """Loopback is what self-hosting means; the key goes out as a bearer token."""
    with FakeRerankServer() as server:
        reply = await Service(f"{server.url}/rerank", key=KEY).post(BODY, max_bytes=1000)
        (call,) = server.calls
    assert reply == [{"index": 0, "score": 0.0}, {"index": 1, "score": 0.0}]
    assert (call.path, call.body) == ("/rerank", BODY)
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in call.headers


async def test_without_a_key_there_is_no_such_header() -> None:
    """Most servers at home have none."""
    with FakeRerankServer() as server:
        await Service(server.url).post(BODY, max_bytes=1000)
        assert "authorization" not in server.calls[0].headers


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("400", ProviderFailure),
        ("401", ProviderFailure),
        ("413", ProviderFailure),
        ("204", ProviderFailure),
        ("redirect", ProviderFailure),
        ("429", ProviderBusy),
        ("500", ProviderBusy),
        ("503", ProviderBusy),
        ("cut", ProviderBusy),
        ("endless", BadReply),
        ("bomb", BadReply),
    ],
)
async def test_each_failure_has_our_name(mode: str, kind: type[ProviderFailure]) -> None:
    """One call, never a second place, and no sentence holds key or address."""
    with FakeRerankServer(mode=mode) as server:
        with pytest.raises(ProviderFailure) as raised:
            await Service(server.url, key=KEY).post(BODY, max_bytes=100_000)
        assert len(server.calls) == 1
        assert server.sent_bytes < 16 << 20
    assert type(raised.value) is kind
    assert KEY not in raised.value.detail
    assert "127.0.0.1" not in raised.value.detail


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"\xff\xfe", b"[NaN]", b"[" * 100_000],
    ids=["", "cut", "bytes", "nan", "deep"],
)
async def test_what_is_not_json_is_a_bad_reply(said: bytes) -> None:
    """Also what Python would take for JSON."""
    with FakeRerankServer(says=said) as server, pytest.raises(BadReply):
        await Service(server.url).post(BODY, max_bytes=200_000)


async def test_nobody_there_is_busy() -> None:
    """A refused connection may be a restart."""
    with FakeRerankServer() as server:
        gone = server.url
    with pytest.raises(ProviderBusy, match="reached"):
        await Service(gone).post(BODY, max_bytes=1000)


async def test_who_is_limited_waits_a_minute_at_most() -> None:
    """Whatever the server asks for."""
    with FakeRerankServer(mode="429") as server, pytest.raises(ProviderBusy) as raised:
        await Service(server.url).post(BODY, max_bytes=1000)
    assert raised.value.retry_after_s == 60


async def test_a_lone_surrogate_is_sent_as_a_question_mark() -> None:
    """A caller's JSON can carry one, UTF-8 cannot."""
    with FakeRerankServer() as server:
        await Service(server.url).post({"query": "\ud800?", "texts": ["a"]}, max_bytes=1000)
        assert server.calls[0].body["query"] == "??"


async def test_a_hanging_server_can_be_left() -> None:
    """The caller limits the time."""
    with FakeRerankServer(mode="hang") as server, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await Service(server.url).post(BODY, max_bytes=1000)


def test_importing_the_door_does_not_import_httpx() -> None:
    """httpx costs half a second that a start does not have."""
    code = "import sys, apps.core.outbound.service; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
