"""Outgoing requests reach public documents and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apps.core.errors import BadReply, DeadlineExceeded, ProviderBusy, TooLarge, Unprocessable
from apps.core.outbound.public import MAX_AT_ONCE, Fetched, Outbound, resolve
from apps.core.settings import Settings

PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
# What the names of the hostile table lead to; every other name is public.
LEADS_TO = {
    "loopback.example.com": ["127.0.0.1"],
    "loopback6.example.com": ["::1"],
    "private.example.com": ["10.0.0.7"],
    "mixed.example.com": [PUBLIC, "192.168.0.1"],
    "mixed6.example.com": [PUBLIC, PUBLIC_V6, "fd00::1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "scoped.example.com": ["fe80::1%eth0"],
    "azure.example.com": ["168.63.129.16"],
    "nonsense.example.com": ["not an address"],
    "127.0.0.1.nip.io": ["127.0.0.1"],
}
HOSTILE = [
    # other schemes and no scheme
    *(
        "file:///etc/passwd",
        "gopher://example.com/_x",
        "ftp://example.com/a",
        "dict://example.com/",
    ),
    *(
        "data:text/plain,hi",
        "javascript:alert(1)",
        "//example.com/",
        "example.com",
        "",
        "https:///a",
    ),
    *("https:/example.com", "https:example.com", "httpſ://example.com/", "http://example.com/"),
    # user information and backslashes
    *("https://user@example.com/", "https://user:secret@example.com/", "https://@example.com/"),
    *(
        "https://example.com@127.0.0.1/",
        "https://127.0.0.1\\@example.com/",
        "https:\\\\example.com",
    ),
    *(
        "https://example.com\\.evil.com/",
        "https://example.com#@127.0.0.1:80@x/".replace("#", "%23"),
    ),
    # addresses that are not public
    *("https://127.0.0.1/", "https://127.255.255.254/", "https://0.0.0.0/", "https://10.0.0.1/"),
    *("https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/"),
    *(
        "https://100.64.0.1/",
        "https://100.100.100.200/",
        "https://168.63.129.16/",
        "https://224.0.0.1/",
    ),
    *(
        "https://255.255.255.255/",
        "https://192.0.0.192/",
        "https://198.18.0.1/",
        "https://192.88.99.1/",
    ),
    # the same in IPv6
    *("https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/"),
    *("https://[0:0:0:0:0:ffff:a9fe:a9fe]/", "https://[::127.0.0.1]/", "https://[fe80::1]/"),
    *(
        "https://[fe80::1%25eth0]/",
        "https://[fc00::1]/",
        "https://[fd00:ec2::254]/",
        "https://[ff02::1]/",
    ),
    *("https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::a00:1]/", "https://[2002:7f00:1::]/"),
    *("https://[2001:0:7f00:1::f7f7:f7f7]/", "https://[2001:0:808:808::80ff:fffe]/"),
    *("https://[2001:db8::1]/", "https://[3fff::1]/", "https://[fec0::1]/", "https://[::1/"),
    # numbers in other bases, short and mixed
    *("https://2130706433/", "https://0x7f000001/", "https://0X7F.1/", "https://017700000001/"),
    *(
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://0x7f.0.0.0x1/",
        "https://0/",
    ),
    *("https://127.0.0.01/", "https://127.0.0.1./", "https://127.0.0.256/", "https://1.2.3.4.5/"),
    *("https://８.8.8.8/", "https://8.8.8.8./", "https://8。8。8。8/", "https://010.8.8.8/"),
    *("https://0x/", "https://8.8.2056/", "https://%31%32%37.0.0.1/", "https://example.0x7f/"),
    # look-alikes and invisible letters
    *("https://１２７.0.0.1/", "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/"),
    *(
        "https://ｌocalhost/",
        "https://local\u00adhost/",
        "https://local\u200bhost/",
        "https://xn--zzzzzz/",
    ),
    *(
        "https://metadata。google。internal/",
        "https://\u202emoc.elpmaxe/",
        "https://exa\u2044mple.com/",
    ),
    # names that are not public
    *("https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://intranet/"),
    *("https://metadata.google.internal/", "https://metadata.goog/", "https://metadata/"),
    *("https://metadata.tencentyun.com/", "https://printer.local/", "https://nas.home.arpa/"),
    *("https://kubernetes.default.svc.cluster.local/", "https://router.lan/"),
    *(f"https://{name}/" for name in LEADS_TO),
    # control characters, blanks, broken authorities
    *(
        "https://example.com\r\nHost: 127.0.0.1/",
        "https://example.com%0d%0aX:1/",
        "https://exa mple.com/",
    ),
    *(
        "https://example.com/a\r\nX: 1",
        "https://example.com\t/",
        " https://example.com/",
        "https://a\0.com/",
    ),
    *(
        "https://example..com/",
        "https://-a.com/",
        "https://example.com:443:80/",
        "https://[1.2.3.4]/",
    ),
    # ports
    *("https://example.com:8080/", "https://example.com:22/", "https://example.com:0443/"),
    *("https://example.com:65536/", "https://example.com:/", "https://example.com:٤٤٣/"),
    *(
        "https://example.com:-443/",
        "https://example.com:443x/",
        f"https://example.com/{'a' * 8000}",
    ),
]
GOOD = {
    "https://example.com": "https://example.com/",
    "HTTPS://EXAMPLE.COM/": "https://example.com/",
    "https://example.com:443/a": "https://example.com/a",
    "https://example.com:80/a": "https://example.com:80/a",
    "https://example.com./a": "https://example.com/a",
    "https://example.com?q=1": "https://example.com/?q=1",
    "https://example.com/a?b=c&d=%20#part": "https://example.com/a?b=c&d=%20",
    "https://example.com/@user/post": "https://example.com/@user/post",
    "https://example.com/a:b;c=d,e": "https://example.com/a:b;c=d,e",
    "https://example.com/http://other.example.com/": "https://example.com/http://other.example.com/",
    "https://ko.wikipedia.org/wiki/한글": "https://ko.wikipedia.org/wiki/%ED%95%9C%EA%B8%80",
    "https://example.com/찾기?q=수도": "https://example.com/%EC%B0%BE%EA%B8%B0?q=%EC%88%98%EB%8F%84",
    "https://한국.kr/": "https://xn--3e0b707e.kr/",
    "https://XN--3E0B707E.kr/": "https://xn--3e0b707e.kr/",
    "https://ＥＸＡＭＰＬＥ.com/": "https://example.com/",
    "https://my_files.example.com/": "https://my_files.example.com/",
    "https://1.1.1.1.example.com/": "https://1.1.1.1.example.com/",
    "https://8.8.8.8/": "https://8.8.8.8/",
    "https://3com.com/": "https://3com.com/",
    "https://[2606:4700:4700::1111]/": "https://[2606:4700:4700::1111]/",
    "https://[64:ff9b::8.8.8.8]/": "https://[64:ff9b::808:808]/",
    "https://[2001:0:808:808::f7f7:f7f7]/": "https://[2001:0:808:808::f7f7:f7f7]/",
    "https://internal.example.com/": "https://internal.example.com/",
}


class Names:
    """A resolver that answers from a table and remembers what it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if self._answers:
            return self._answers[min(len(self.asked), len(self._answers)) - 1]
        return LEADS_TO.get(host, [PUBLIC])


class HeldClock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now(self) -> float:
        return self.time_s

    def monotonic(self) -> float:
        return self.time_s


class Wire(httpx.AsyncBaseTransport):
    """Answers requests in memory and remembers them."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self._responses = list(responses)
        self.requests: list[httpx.Request] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        response = self._responses.pop(0) if self._responses else httpx.Response(200, content=b"ok")
        if isinstance(response, Exception):
            raise response
        # As it comes from a socket: nothing is read or unpacked yet.
        return httpx.Response(
            response.status_code, headers=response.headers, stream=response.stream
        )

    async def aclose(self) -> None:
        self.closed += 1


class Stream(httpx.AsyncByteStream):
    """A body in pieces; does something before each one."""

    def __init__(self, *pieces: bytes, before: Callable[[], None] = lambda: None) -> None:
        self._pieces = pieces
        self._before = before

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self._before()
            yield piece


def outbound(wire: Wire | None = None, names: Names | None = None, allow: str = "") -> Outbound:
    """A door with everything outside replaced."""
    settings = Settings(FETCH_ALLOW_HOSTS=allow)
    return Outbound(
        settings, resolver=names or Names(), clock=HeldClock(), transport=wire or Wire()
    )


async def fetch(
    door: Outbound, url: str = "https://example.com/a", max_bytes: int = 100
) -> Fetched:
    return await door.fetch(url, max_bytes=max_bytes, timeout_s=5)


def moved(location: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"location": location})


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A real server on loopback; yields its port."""

    running: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        with suppress(ConnectionError):
            await handler(reader, writer)
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as listening:
        yield listening.sockets[0].getsockname()[1]
    await asyncio.gather(*(task for task in running if task))


class Site:
    """Serves one text over HTTP and keeps the heads of requests."""

    def __init__(self) -> None:
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        body = gzip.compress("서울은 수도이다.".encode())
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nSet-Cookie: a=b\r\n"
            b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()


def test_the_tables_are_long_enough() -> None:
    """At least 60 hostile and 20 good spellings, none twice."""
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60
    assert len(GOOD) >= 20


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
async def test_a_hostile_url_is_refused(url: str) -> None:
    """It is refused with one sentence, and no request is sent."""
    wire = Wire()
    with pytest.raises(Unprocessable, match=r"^The URL [^.]*\.$|^The host [^.]*\.$"):
        await fetch(outbound(wire), url)
    with pytest.raises(Unprocessable):
        await outbound(wire).check(url)
    assert not wire.requests


@pytest.mark.parametrize("url", GOOD, ids=ascii)
async def test_a_good_url_is_fetched(url: str) -> None:
    """It passes the check and is sent in its one spelling, to an address."""
    wire = Wire()
    door = outbound(wire)
    await door.check(url)
    assert (await fetch(door, url)).url == GOOD[url]
    assert ip_address(wire.requests[0].url.host)
    assert wire.requests[0].headers["host"] == GOOD[url].split("/")[2]


async def test_a_password_in_a_url_is_named() -> None:
    """The caller learns why, and the password is not repeated."""
    with pytest.raises(Unprocessable, match="user name or password") as caught:
        await fetch(outbound(), "https://user:hunter2@example.com/")
    assert "hunter2" not in caught.value.detail


async def test_a_rebinding_name_is_asked_once_and_its_address_pinned() -> None:
    """A name that is public for the check cannot be loopback for the connection."""
    wire, names = Wire(), Names([PUBLIC], ["127.0.0.1"])
    door = outbound(wire, names)
    await fetch(door)
    (request,) = wire.requests
    assert names.asked == ["example.com"]
    assert request.url.host == PUBLIC
    assert request.headers["host"] == "example.com"
    assert request.extensions["sni_hostname"] == "example.com"
    with pytest.raises(Unprocessable):
        await fetch(door)


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.1/", "https://127.0.0.1/", "https://loopback.example.com/", "//[::1]/"),
        *("https://169.254.169.254/latest/", "file:///etc/passwd", "https://a:b@example.com/"),
        *("https://example.com:22/", "http://example.com/", "https://0x7f.1/", "https://[::1/"),
        *("\\\\127.0.0.1\\a", "https://example.com/a\tb"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_url(location: str) -> None:
    """A public server cannot send us inside."""
    wire = Wire(moved(location))
    with pytest.raises(Unprocessable):
        await fetch(outbound(wire))
    assert len(wire.requests) == 1


async def test_a_redirect_never_leaves_https() -> None:
    """Not even for a listed host that may be asked by http directly."""
    wire = Wire(moved("http://wiki.intern/"))
    with pytest.raises(Unprocessable, match="from https to http"):
        await fetch(outbound(wire, allow="wiki.intern"))
    assert (await fetch(outbound(allow="wiki.intern"), "http://wiki.intern/")).content == b"ok"


async def test_three_redirects_are_followed_and_no_fourth() -> None:
    """Relative ones too; each name is resolved anew."""
    hops = [moved("/b", 301), moved("//other.example.com/c?d", 307), moved("e", 308)]
    wire, names = Wire(*hops), Names()
    found = await fetch(outbound(wire, names))
    assert found.url == "https://other.example.com/e"
    assert names.asked == ["example.com"] * 2 + ["other.example.com"] * 2
    with pytest.raises(Unprocessable, match="more than 3"):
        await fetch(outbound(Wire(*hops, moved("/f"))))


async def test_a_redirect_sends_no_cookie() -> None:
    """What a server wants remembered is forgotten."""
    wire = Wire(httpx.Response(302, headers={"location": "/b", "set-cookie": "id=1"}))
    await fetch(outbound(wire))
    assert {"cookie", "authorization", "referer"}.isdisjoint(wire.requests[1].headers)


async def test_a_long_document_is_too_large() -> None:
    """What arrives is counted, on the wire and unpacked."""
    head = zlib.compressobj(wbits=16 + zlib.MAX_WBITS).flush()[:10]
    empty = head + b"\0\0\0\xff\xff" * 30  # stored blocks of no bytes, RFC 1951 section 3.2.4
    plain = httpx.Response(200, stream=Stream(b"a" * 60, b"a" * 41))
    packed = {"content-encoding": "gzip"}
    for response in (plain, httpx.Response(200, headers=packed, stream=Stream(empty))):
        with pytest.raises(TooLarge):
            await fetch(outbound(Wire(response)))


async def test_an_announced_length_is_enough_to_refuse() -> None:
    """A server that says how much is coming is not listened to."""

    def read() -> None:
        raise AssertionError

    stream = Stream(b"a", before=read)
    wire = Wire(httpx.Response(200, headers={"content-length": "101"}, stream=stream))
    with pytest.raises(TooLarge):
        await fetch(outbound(wire))


async def test_a_document_of_just_the_limit_arrives() -> None:
    """The limit itself is allowed, packed or not."""
    packed = gzip.compress(b"a" * 100)
    for headers, body in (({}, b"a" * 100), ({"content-encoding": "GZIP"}, packed)):
        wire = Wire(httpx.Response(200, headers=headers, stream=Stream(body[:7], body[7:])))
        assert (await fetch(outbound(wire))).content == b"a" * 100


async def test_a_gzip_bomb_is_refused_without_unpacking_it() -> None:
    """64 KB that would become 64 MB never take more memory than a few limits."""
    bomb = gzip.compress(bytes(64_000_000))
    wire = Wire(httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Stream(bomb)))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        await fetch(outbound(wire), max_bytes=100_000)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        *(
            ("gzip, gzip", b""),
            ("br", b"x"),
            ("deflate", b"x"),
            ("gzip", b"not gzip"),
            ("gzip", b""),
        ),
        *(
            ("gzip", gzip.compress(b"text", mtime=0)[:-4]),
            ("gzip", gzip.compress(b"text", mtime=0) + b"more"),
        ),
    ],
)
async def test_a_strangely_packed_reply_is_a_bad_reply(encoding: str, body: bytes) -> None:
    """Only gzip, once, whole; nothing is silently cut."""
    wire = Wire(httpx.Response(200, headers={"content-encoding": encoding}, stream=Stream(body)))
    with pytest.raises(BadReply):
        await fetch(outbound(wire))


async def test_a_trickling_body_times_out() -> None:
    """The time is for the whole fetch, not for each piece."""
    clock = HeldClock()

    def later() -> None:
        clock.time_s += 2

    wire = Wire(httpx.Response(200, stream=Stream(b"a", b"a", b"a", b"a", before=later)))
    door = Outbound(Settings(), resolver=Names(), clock=clock, transport=wire)
    with pytest.raises(DeadlineExceeded):
        await fetch(door)
    assert clock.time_s == 6


async def test_a_silent_server_times_out() -> None:
    """A server that takes the connection and says nothing does not hold us."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    wire = httpx.AsyncHTTPTransport(trust_env=False)
    async with server(silent) as port:
        door = Outbound(Settings(FETCH_ALLOW_HOSTS=f"127.0.0.1:{port}"), transport=wire)
        with pytest.raises(DeadlineExceeded):
            await door.fetch(f"http://127.0.0.1:{port}/", max_bytes=100, timeout_s=0.5)
        await door.close()


async def test_a_slow_resolver_times_out() -> None:
    """Looking up the name counts."""

    async def never(host: str, port: int) -> Sequence[str]:
        return await asyncio.get_running_loop().create_future()

    door = Outbound(Settings(), resolver=never)
    with pytest.raises(DeadlineExceeded):
        await door.fetch("https://example.com/", max_bytes=100, timeout_s=0.01)


async def test_waiting_for_a_slot_times_out() -> None:
    """Only so many fetches run at once; the next ones wait within their own time."""
    reached = asyncio.Event()
    names = 0

    async def never(host: str, port: int) -> Sequence[str]:
        nonlocal names
        names += 1
        if names == MAX_AT_ONCE:
            reached.set()
        return await asyncio.get_running_loop().create_future()

    door = Outbound(Settings(), resolver=never)
    url = "https://example.com/"
    running = [
        asyncio.ensure_future(door.fetch(url, max_bytes=1, timeout_s=60))
        for _ in range(MAX_AT_ONCE)
    ]
    await reached.wait()
    with pytest.raises(DeadlineExceeded):
        await door.fetch(url, max_bytes=1, timeout_s=0.01)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert names == MAX_AT_ONCE


@pytest.mark.parametrize("status", [204, 206, 304, 408, 425, 500, 502])
async def test_another_status_is_a_bad_reply(status: int) -> None:
    """Retryable, and named by its number."""
    with pytest.raises(BadReply, match=str(status)) as caught:
        await fetch(outbound(Wire(httpx.Response(status))))
    assert caught.value.retryable


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
async def test_a_refusal_for_good_is_not_retryable(status: int) -> None:
    """The same request would be refused again."""
    with pytest.raises(Unprocessable, match=str(status)) as caught:
        await fetch(outbound(Wire(httpx.Response(status))))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("text", "wait_s"), [("7", 7.0), ("9" * 30, 3600.0), ("soon", None), ("²", None)]
)
async def test_a_busy_server_says_when_to_come_back(text: str, wait_s: float | None) -> None:
    """429 and 503 carry the server's own pause, within reason."""
    for status in (429, 503):
        headers = {"retry-after": text.encode()}
        with pytest.raises(ProviderBusy) as caught:
            await fetch(outbound(Wire(httpx.Response(status, headers=headers))))
        assert caught.value.retry_after_s == wait_s


async def test_the_next_address_is_tried_and_not_for_ever() -> None:
    """A name with one dead address still answers; three dead ones are enough."""
    dead = [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("late"),
        httpx.ConnectError("refused"),
    ]
    addresses = [PUBLIC, "8.8.8.8", PUBLIC_V6, "1.1.1.1"]
    wire = Wire(*dead[:2])
    assert (await fetch(outbound(wire, Names(addresses)))).content == b"ok"
    assert [request.url.host for request in wire.requests] == addresses[:3]
    wire = Wire(*dead)
    with pytest.raises(BadReply, match="cannot be reached"):
        await fetch(outbound(wire, Names(addresses)))
    assert len(wire.requests) == 3


async def test_a_broken_connection_is_a_bad_reply() -> None:
    """Before the head, and in the middle of the body."""

    def tear() -> None:
        raise httpx.RemoteProtocolError("closed")

    for broken in (
        httpx.ReadError("reset"),
        httpx.Response(200, stream=Stream(b"a", before=tear)),
    ):
        with pytest.raises(BadReply, match="broke off"):
            await fetch(outbound(Wire(broken)))


@pytest.mark.parametrize("failure", [OSError("no such name"), UnicodeError("label too long"), None])
async def test_a_name_without_an_address_is_a_bad_reply(failure: Exception | None) -> None:
    """The name may come back, so the error is retryable and no refusal."""

    async def fail(host: str, port: int) -> Sequence[str]:
        if failure:
            raise failure
        return []

    with pytest.raises(BadReply, match="no address"):
        await Outbound(Settings(), resolver=fail).check("https://example.com/")


@pytest.mark.parametrize(
    ("path", "header", "name"),
    [
        ("a/%EB%B3%B4%EA%B3%A0.pdf?x=/y", "", "보고.pdf"),
        ("a/b/", "", "b"),
        ("", "", "example.com"),
        ("..", "", "example.com"),
        ("%2e%2e%2f%00", "", "example.com"),
        ("download.do?id=1", 'attachment; filename="report 1.pdf"', "report 1.pdf"),
        ("download.do", "attachment; filename*=UTF-8''%ED%91%9C.csv", "표.csv"),
        ("download.do", 'attachment; filename="표.csv"', "표.csv"),
        ("a.md", 'attachment; filename="../../etc/passwd"', "passwd"),
        ("a.md", 'attachment; filename="C:\\\\a\\\\b.txt"', "b.txt"),
        ("a.md", "attachment; filename*=no-such-charset''a%00b.txt", "ab.txt"),
        ("a.md", "attachment; filename=..", "a.md"),
        ("a.md", "inline", "a.md"),
        ("x" * 300 + ".html", "", "x" * 115 + ".html"),
    ],
)
async def test_a_document_gets_a_plain_name(path: str, header: str, name: str) -> None:
    """The server's name, else the path's, else the host; never a path or a control character."""
    headers = {"content-disposition": header.encode()} if header else {}
    wire = Wire(httpx.Response(200, headers=headers, content=b"x"))
    assert (await fetch(outbound(wire), f"https://example.com/{path}")).filename == name


async def test_a_listed_loopback_server_is_fetched_for_real(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through a socket, past any proxy of the environment, with a plain request."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site = Site()
    async with server(site) as port:
        door = Outbound(Settings(FETCH_ALLOW_HOSTS=f"example.org, 127.0.0.1:{port}"))
        url = f"http://127.0.0.1:{port}/%EA%B0%80.txt"
        found = await door.fetch(url, max_bytes=100, timeout_s=5)
        again = await door.fetch(url, max_bytes=100, timeout_s=5)
        await door.close()
    text = "서울은 수도이다.".encode()
    assert found == again == Fetched(url, text, "text/plain; charset=utf-8", "가.txt")
    assert len(site.heads) == 2
    assert site.heads[1].splitlines()[0] == "GET /%EA%B0%80.txt HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in site.heads[1]
    assert "cookie" not in site.heads[1].lower()


async def test_the_same_server_unlisted_is_refused() -> None:
    """Another port of a listed host is not listed."""
    site = Site()
    async with server(site) as port:
        for allow in ("", "127.0.0.1", f"127.0.0.1:{port - 1}", f"localhost:{port}"):
            with pytest.raises(Unprocessable):
                await fetch(outbound(allow=allow), f"http://127.0.0.1:{port}/")
    assert not site.heads


def certificate(name: str, folder: Path) -> Path:
    """A certificate of `name`, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_tls_is_verified_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    """SNI and the certificate's check use the name although the connection uses the number."""
    path = certificate("docs.example.org", tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    asked: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    trust = ssl.create_default_context(cafile=str(path))
    site = Site()
    async with server(site, tls) as port:
        door = Outbound(
            Settings(FETCH_ALLOW_HOSTS=f"docs.example.org:{port},evil.example.org:{port}"),
            resolver=Names(["127.0.0.1"]),
            transport=httpx.AsyncHTTPTransport(verify=trust, trust_env=False),
        )
        await door.fetch(f"https://docs.example.org:{port}/", max_bytes=100, timeout_s=5)
        with pytest.raises(BadReply, match="cannot be reached"):
            await door.fetch(f"https://evil.example.org:{port}/", max_bytes=100, timeout_s=5)
        await door.close()
    assert asked == ["docs.example.org", "evil.example.org"]
    assert len(site.heads) == 1
    assert f"Host: docs.example.org:{port}" in site.heads[0]


async def test_an_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    """Listing a host does not switch the check of its certificate off."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate("docs.example.org", tmp_path))
    site = Site()
    async with server(site, tls) as port:
        settings = Settings(FETCH_ALLOW_HOSTS=f"docs.example.org:{port}")
        door = Outbound(settings, resolver=Names(["127.0.0.1"]))
        with pytest.raises(BadReply):
            await door.fetch(f"https://docs.example.org:{port}/", max_bytes=100, timeout_s=5)
        await door.close()
    assert not site.heads


async def test_close_closes_the_transport_once() -> None:
    """A second close is harmless."""
    wire = Wire()
    door = outbound(wire)
    await door.close()
    await door.close()
    assert wire.closed == 1


async def test_the_system_resolver_gives_texts_of_addresses() -> None:
    """A number resolves to itself, without a network."""
    assert set(await resolve("127.0.0.1", 80)) == {"127.0.0.1"}


def test_importing_the_door_does_not_import_httpx() -> None:
    """httpx costs half a second that a start does not have."""
    imported = "'httpx' in sys.modules or 'idna' in sys.modules"
    code = f"import sys, apps.core.outbound.public; sys.exit({imported})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
