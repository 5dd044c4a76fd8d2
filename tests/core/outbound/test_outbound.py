"""No spelling, name, answer or redirect leads into the own network."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Sequence

import httpx
import pytest

from apps.core.errors import ProviderBusy, TooLarge, Unprocessable
from apps.core.outbound import addresses
from apps.core.outbound.addresses import Policy, checked, is_public
from apps.core.outbound.client import Client, GuardedTransport
from apps.core.settings import Settings

PUBLIC = "93.184.215.14"
# What a name stands for; every other name is public.
NAMES = {
    "loopback.example": ["127.0.0.1"],
    "loopback6.example": ["::1"],
    "private.example": ["10.0.0.8"],
    "mixed.example": [PUBLIC, "192.168.0.1"],
    "mixed6.example": [PUBLIC, "fd00::1"],
    "metadata.example": ["169.254.169.254"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "6to4.example": ["2002:7f00:1::"],
    "teredo.example": ["2001:0:7f00:1::80ff:fffe"],
    "compatible.example": ["::7f00:1"],
    "multicast.example": ["224.0.0.1"],
    "unspecified.example": ["0.0.0.0"],
    "nothing.example": [],
}
HOSTILE = """
http://example.com/
ftp://example.com/
file:///etc/passwd
gopher://example.com/
dict://example.com/
data:text/plain,x
javascript:alert(1)
ws://example.com/
//example.com/
example.com
https:example.com
https:/example.com
https://
https:///path
https://localhost/
https://LOCALHOST/
https://localhost./
https://app.localhost/
https://printer.local/
https://db.internal/
https://metadata.google.internal/computeMetadata/v1/
https://router.lan/
https://x.home.arpa/
https://intranet/
https://127.0.0.1/
https://127.0.0.1:443/
https://127.1/
https://127.0.1/
https://2130706433/
https://0x7f000001/
https://0x7f.0.0.1/
https://0x7f.1/
https://017700000001/
https://0177.0.0.1/
https://127.0.0.01/
https://0/
https://0.0.0.0/
https://10.0.0.1/
https://172.16.0.1/
https://192.168.1.1/
https://169.254.169.254/latest/meta-data/
https://168.63.129.16/
https://100.64.0.1/
https://198.18.0.1/
https://192.0.2.1/
https://224.0.0.1/
https://240.0.0.1/
https://255.255.255.255/
https://192.88.99.1/
https://[::1]/
https://[::]/
https://[::ffff:127.0.0.1]/
https://[::ffff:7f00:1]/
https://[::127.0.0.1]/
https://[64:ff9b::7f00:1]/
https://[64:ff9b::a9fe:a9fe]/
https://[2002:7f00:1::]/
https://[2001:0:7f00:1::80ff:fffe]/
https://[fe80::1]/
https://[fe80::1%25eth0]/
https://[fd00::1]/
https://[fec0::1]/
https://[ff02::1]/
https://[2001:db8::1]/
https://[100::1]/
https://user@example.com/
https://user:pass@example.com/
https://example.com@127.0.0.1/
https://example.com:443@127.0.0.1/
https://@example.com/
https://example.com:8080/
https://example.com:22/
https://example.com:0/
https://example.com:99999/
https://example.com:x/
https://exa mple.com/
https://example.com\\@127.0.0.1/
https://example.com\\.evil/
https://example.com/\r\nHost: localhost
https://127.0.0.1\t/
https://%31%32%37.0.0.1/
https://１２７.0.0.1/
https://①②⑦.0.0.1/
https://ⓛocalhost/
https://127。0。0。1/
https://[::1
https://1.2.3.4.5/
https://example.0x10/
https://-bad-.example/
https://a..b/
https://loopback.example/
https://loopback6.example/
https://private.example/
https://mixed.example/
https://mixed6.example/
https://metadata.example/
https://mapped.example/
https://nat64.example/
https://6to4.example/
https://teredo.example/
https://compatible.example/
https://multicast.example/
https://unspecified.example/
https://nothing.example/
"""
GOOD = """
https://example.com
https://example.com/
https://example.com:443/a
https://example.com:80/
https://EXAMPLE.com/Path?q=1#part
https://sub.domain.example.co.kr/문서.html
https://한국.kr/
https://xn--3e0b707e.kr/
https://example.com/a%20b
https://example.com/?mail=a@b.c
https://example.com/@user
https://example.com/127.0.0.1
https://127.example.com/
https://8.8.8.8/
https://[2606:4700:4700::1111]/
https://[2606:4700:4700::1111]:443/x
https://a-b.example.org/
https://under_score.example.org/
https://localhost.example.org/
https://example.com/a//b/../c
"""


def lines(table: str) -> list[str]:
    return [line for line in table.strip("\n").split("\n") if line]


async def resolve(host: str, _port: int) -> Sequence[str]:
    return NAMES.get(host, [PUBLIC])


class Recorder(httpx.AsyncBaseTransport):
    """Answers everything that reaches the network and remembers it."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answers.pop(0) if self._answers else sent(b"ok")


def sent(content: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, headers=named, stream=httpx.ByteStream(content))


def client(network: httpx.AsyncBaseTransport, allowed: Policy | None = None) -> Client:
    rules = allowed or Policy()
    return Client(rules, transport=GuardedTransport(rules, resolver=resolve, inner=network))


def test_the_tables_are_large_enough() -> None:
    """At least 60 hostile and 20 good addresses are tried."""
    assert len(set(lines(HOSTILE))) >= 60
    assert len(set(lines(GOOD))) >= 20


@pytest.mark.parametrize(
    "url", [*lines(HOSTILE), "https://example.com/" + "a" * 3000, "", "https://\x00/"]
)
async def test_hostile_addresses_are_refused_before_anything_is_sent(url: str) -> None:
    """Every spelling that means something else than a public https address stops here."""
    network = Recorder()
    async with client(network) as fetching:
        with pytest.raises(Unprocessable, match="refused"):
            await fetching.fetch(url)
    assert network.requests == []


@pytest.mark.parametrize("url", lines(GOOD))
async def test_good_addresses_pass(url: str) -> None:
    """Ordinary addresses are fetched from the address that was checked, under their own name."""
    network = Recorder()
    async with client(network) as fetching:
        assert (await fetching.fetch(url)).content == b"ok"
    (request,) = network.requests
    asked = checked(url, Policy())
    assert request.url.host in (PUBLIC, asked.host)
    assert request.extensions["sni_hostname"] == asked.host


async def test_a_name_is_resolved_once_and_the_connection_goes_there() -> None:
    """A resolver that answers public first and loopback next is asked once only."""
    answers = [[PUBLIC], ["127.0.0.1"]]

    async def rebinding(_host: str, _port: int) -> Sequence[str]:
        return answers.pop(0)

    network = Recorder()
    guard = GuardedTransport(Policy(), resolver=rebinding, inner=network)
    async with Client(Policy(), transport=guard) as fetching:
        await fetching.fetch("https://rebind.example/x")
        (request,) = network.requests
        assert str(request.url) == f"https://{PUBLIC}/x"
        assert request.headers["host"] == "rebind.example"
        with pytest.raises(Unprocessable):
            await fetching.fetch("https://rebind.example/x")
    assert len(network.requests) == 1


def moved(location: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": location})


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/",
        "https://loopback.example/",
        "http://example.com/",
        "//localhost/",
        "file:///etc/passwd",
        "https://user@example.com/",
        "https://example.com:8080/",
        "https://[::1]/",
        "https://2130706433/",
        "http://[",
    ],
)
async def test_redirects_pass_the_same_guard(location: str) -> None:
    """A redirect into the own network or to an unprotected address ends the fetch."""
    network = Recorder(moved(location))
    async with client(network) as fetching:
        with pytest.raises(Unprocessable, match="refused"):
            await fetching.fetch("https://example.com/")
    assert len(network.requests) == 1


async def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    """Relative redirects work; a chain ends."""
    hops = ("/1", "https://other.example/2", "3", "4")
    async with client(Recorder(*map(moved, hops[:3]))) as fetching:
        assert (await fetching.fetch("https://example.com/a/")).url == "https://other.example/3"
    async with client(Recorder(*map(moved, hops))) as fetching:
        with pytest.raises(Unprocessable, match="too often"):
            await fetching.fetch("https://example.com/")


async def test_an_allowed_host_may_not_be_downgraded_either() -> None:
    """Even a host that may use http is not followed from https to http."""
    allowed = Policy(frozenset({("dev.example", None)}))
    async with client(Recorder(moved("http://dev.example/")), allowed) as fetching:
        with pytest.raises(Unprocessable, match="unprotected"):
            await fetching.fetch("https://dev.example/")


async def test_no_cookie_is_sent_back() -> None:
    """What a server wants remembered is forgotten, also within one chain of redirects."""
    first = httpx.Response(302, headers={"location": "/2", "set-cookie": "a=1; Path=/"})
    network = Recorder(first)
    async with client(network) as fetching:
        await fetching.fetch("https://example.com/")
    assert all("cookie" not in request.headers for request in network.requests)


async def test_size_is_bounded_as_declared_as_sent_and_as_unpacked() -> None:
    """Too long by its header, by its bytes, or by what gzip makes of them: refused."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    bomb = gzip.compress(bytes(50_000_000))
    for answer in (
        sent(b"", content_length="999999999"),
        httpx.Response(200, content=endless()),
        sent(bomb, content_encoding="gzip"),
    ):
        async with client(Recorder(answer)) as fetching:
            with pytest.raises(TooLarge):
                await fetching.fetch("https://example.com/", max_bytes=100_000)


async def test_gzip_is_unpacked_and_other_packing_refused() -> None:
    """Gzip is understood; what is not understood is not guessed at; damage is named."""
    packed = gzip.compress("글".encode())

    def answer(coding: str, content: bytes) -> Recorder:
        kind = "text/plain; charset=utf-8"
        return Recorder(sent(content, content_encoding=coding, content_type=kind))

    async with client(answer("gzip", packed)) as fetching:
        found = await fetching.fetch("https://example.com/a.txt")
    assert (found.content, found.content_type, found.name) == ("글".encode(), "text/plain", "a.txt")
    for coding, content in (("br", b"x"), ("gzip", b"no gzip")):
        async with client(answer(coding, content)) as fetching:
            with pytest.raises(Unprocessable):
                await fetching.fetch("https://example.com/")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, Unprocessable), (304, Unprocessable), (429, ProviderBusy), (503, ProviderBusy)],
)
async def test_a_servers_refusal_is_told(status: int, kind: type[Exception]) -> None:
    """Errors of the other server are errors of the fetch; only passing ones may be retried."""
    async with client(Recorder(httpx.Response(status))) as fetching:
        with pytest.raises(kind, match=str(status)):
            await fetching.fetch("https://example.com/")


async def test_names_of_files_come_from_the_path() -> None:
    """The name helps to tell kinds of text apart; a page without suffix is a page."""
    page = sent(b"x", content_type="text/html; charset=utf-8")
    async with client(Recorder(page)) as fetching:
        assert (await fetching.fetch("https://example.com/guide")).name == "guide.html"
    async with client(Recorder()) as fetching:
        assert (await fetching.fetch("https://example.com/")).name == "example.com"


async def test_a_slow_server_and_an_unknown_host_are_told() -> None:
    """The time for everything together is bounded, and a resolver's failure is no crash."""

    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such host")

    guard = GuardedTransport(Policy(), resolver=resolve, inner=Hanging())
    async with Client(Policy(), transport=guard, total_s=0.05) as fetching:
        with pytest.raises(ProviderBusy, match="Timeout"):
            await fetching.fetch("https://example.com/")
    async with Client(Policy(), transport=GuardedTransport(Policy(), resolver=unknown)) as fetching:
        with pytest.raises(ProviderBusy, match="found"):
            await fetching.fetch("https://example.com/")


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """A real HTTP server on the loopback interface."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        if path == "/moved":
            reply = "HTTP/1.1 302 Found\r\nLocation: /page.md\r\nContent-Length: 0\r\n\r\n"
        else:
            body = f"# 안녕 {path}"
            size = len(body.encode())
            reply = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{body}"
        writer.write(reply.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_host_that_the_operator_allows_is_fetched_for_real(
    server: int, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FETCH_ALLOW_HOSTS opens http, the port and the private address; proxies are not asked."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    allowed = addresses.policy(make_settings(FETCH_ALLOW_HOSTS=f"x.example, 127.0.0.1:{server}"))
    async with Client(allowed) as fetching:
        found = await fetching.fetch(f"http://127.0.0.1:{server}/moved")
    assert found.content == "# 안녕 /page.md".encode()
    async with Client(Policy()) as fetching:
        with pytest.raises(Unprocessable):
            await fetching.fetch(f"http://127.0.0.1:{server}/page.md")


def test_the_list_of_allowed_hosts_names_hosts_and_ports(
    make_settings: Callable[..., Settings],
) -> None:
    """An entry is a host for any port, or a host with one port; IPv6 stands in brackets."""
    rules = addresses.policy(make_settings(FETCH_ALLOW_HOSTS="A.example, b:80,[::1]:8080,[::2],"))
    assert rules.trusts("a.example", 5)
    assert rules.trusts("b", 80)
    assert not rules.trusts("b", 81)
    assert rules.trusts("::1", 8080)
    assert rules.trusts("::2", 1)


async def test_an_allowed_name_does_not_open_the_metadata_service() -> None:
    """The operator's word covers private addresses, not link-local ones behind the name."""
    allowed = Policy(frozenset({("metadata.example", None), ("private.example", None)}))
    async with client(Recorder(), allowed) as fetching:
        assert (await fetching.fetch("http://private.example/")).content == b"ok"
        with pytest.raises(Unprocessable):
            await fetching.fetch("http://metadata.example/")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1", "64:ff9b::808:808"])
def test_wrapped_public_addresses_are_public(address: str) -> None:
    """Unwrapping does not refuse what is public inside and out."""
    assert is_public(address)
