"""Fetches what stands at an address, through the guard.

A host is resolved once, every answer must be a public address, and the connection goes to the
answer that was checked (Host and SNI keep the name), so a name that later points elsewhere
changes nothing. Redirects pass the same guard, three at most, and never from https to http.
No proxies or credentials from the environment, no cookies.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import TracebackType

import httpx

from apps.core.errors import ProviderBusy, TooLarge, Unprocessable
from apps.core.outbound.addresses import (
    Policy,
    Target,
    checked,
    literal,
    may_connect,
    refused,
)

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_REDIRECTS = 3
PAGE_BYTES = 2_000_000
TOTAL_S, CONNECT_S = 30.0, 5.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = "dt-rag/2"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address returned; `name` is fit to be a file's name."""

    url: str
    name: str
    content_type: str
    content: bytes


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Every address of `host`, as the system's resolver has it."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """Lets a request through to an address that was checked; any httpx client may use it."""

    def __init__(
        self,
        allowed: Policy,
        *,
        resolver: Resolver = system_resolver,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._inner = inner or httpx.AsyncHTTPTransport(trust_env=False, retries=0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Resolve once, check every answer, connect to the first.

        Raises:
            Unprocessable: the address is refused.
            ProviderBusy: its host cannot be resolved now.
        """
        target = checked(str(request.url), self._allowed)
        address = await self._address(target)
        pinned = httpx.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,  # Host was set from the name when the request was made
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": target.host},
        )
        return await self._inner.handle_async_request(pinned)

    async def _address(self, target: Target) -> str:
        number = literal(target.host)
        try:
            found = [str(number)] if number else await self._resolver(target.host, target.port)
        except OSError as error:
            raise ProviderBusy("The host of the address cannot be found.") from error
        if not found or not all(may_connect(each, trusted=target.trusted) for each in found):
            raise refused("its host is not on the public internet")
        return found[0]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class Client:
    """Fetches documents; one for each job, so that nothing is remembered between them."""

    def __init__(
        self,
        allowed: Policy,
        *,
        transport: GuardedTransport | None = None,
        total_s: float = TOTAL_S,
    ) -> None:
        self._allowed = allowed
        self._total_s = total_s
        self._client = httpx.AsyncClient(
            transport=transport or GuardedTransport(allowed),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(total_s, connect=CONNECT_S),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, identity"},
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def fetch(self, url: str, *, max_bytes: int = PAGE_BYTES) -> Fetched:
        """Get what stands at `url`.

        Raises:
            Unprocessable: refused by the guard, or its server says that there is nothing.
            TooLarge: more than `max_bytes`, unpacked.
            ProviderBusy: its server does not answer properly now.
        """
        try:
            async with asyncio.timeout(self._total_s):
                return await self._follow(checked(url, self._allowed), max_bytes)
        except (TimeoutError, httpx.TransportError) as error:
            raise ProviderBusy(f"The address cannot be read: {type(error).__name__}.") from error

    async def _follow(self, target: Target, max_bytes: int) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            self._client.cookies.clear()
            async with self._client.stream("GET", target.url) as response:
                if response.status_code not in REDIRECTS:
                    _check_status(response.status_code)
                    content = await _read(response, max_bytes)
                    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
                    return Fetched(target.text, _name(target.url, kind), kind, content)
                target = self._next(target, response.headers.get("location", ""))
        raise refused("it is redirected too often")

    def _next(self, target: Target, location: str) -> Target:
        try:
            moved = str(target.url.join(location))
        except httpx.InvalidURL:
            raise refused("it is redirected to nowhere") from None
        following = checked(moved, self._allowed)
        if target.url.scheme == "https" and following.url.scheme != "https":
            raise refused("it is redirected to an unprotected address")
        return following


def _check_status(status: int) -> None:
    if status == 429 or status >= 500:
        raise ProviderBusy(f"The server of the address answers with {status}.")
    if not 200 <= status < 300:
        raise Unprocessable(f"The server of the address answers with {status}.")


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise TooLarge(f"The document at the address has more than {max_bytes} bytes.")
    content = bytearray()
    async for piece in _unpacked(response, max_bytes):
        content += piece
        if len(content) > max_bytes:
            raise TooLarge(f"The document at the address has more than {max_bytes} bytes.")
    return bytes(content)


async def _unpacked(response: httpx.Response, max_bytes: int) -> AsyncIterator[bytes]:
    """Unpack by ourselves, with a bound: a few bytes of gzip may become gigabytes."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "x-gzip"):
        raise Unprocessable("The server of the address packs its answer in an unknown way.")
    unpacker = zlib.decompressobj(31) if "gzip" in coding else None
    async for raw in response.aiter_raw():
        try:
            yield unpacker.decompress(raw, max_bytes + 1) if unpacker else raw
        except zlib.error:
            raise Unprocessable("The answer of the address is damaged.") from None


def _name(url: httpx.URL, content_type: str) -> str:
    name = PurePosixPath(url.path).name or url.host
    return f"{name}.html" if content_type == "text/html" and not name.endswith("ml") else name
