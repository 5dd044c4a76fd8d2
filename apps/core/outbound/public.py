"""Fetches what a caller names; nothing inside the network can be reached through this door.

A name is resolved once per hop, every address it has must be public, and the connection goes to
the address that was checked while `Host` and SNI keep the name. Only httpx's transport is used,
not its client, so there are no cookies, no credentials, no proxies and no silent redirects.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from apps.core.addresses import Target, listing, literal, may_connect, target
from apps.core.errors import BadReply, DeadlineExceeded, ProviderBusy, Unprocessable
from apps.core.outbound.reading import Body, retry_after_s
from apps.core.settings import Settings

if TYPE_CHECKING:
    import httpx

    from apps.core.domain.ports import Clock

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_REDIRECTS = 3
MAX_TRIES = 3  # addresses of one name
MAX_AT_ONCE = 8
CONNECT_S = 5.0
MAX_RETRY_AFTER_S = 3600.0
MAX_NAME_CHARS = 120
REDIRECTS = frozenset({301, 302, 303, 307, 308})
BUSY = frozenset({429, 503})
PASSING = frozenset({408, 425})  # a timeout, too early: the same request may not meet them again
USER_AGENT = "dt-rag"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL led to; `url` is the last one after redirects, in its ASCII spelling."""

    url: str
    content: bytes
    content_type: str | None
    filename: str


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for all IPv4 and IPv6 addresses of a name, best first."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Outbound:
    """Fetches public documents; safe to share between tasks of one event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        resolver: Resolver = resolve,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            settings: `FETCH_ALLOW_HOSTS` is read here.
            resolver: host and port to the texts of all addresses; raises `OSError`.
            clock: its monotonic time ends a fetch; the system's when None.
            transport: sends a request to the address in its URL; TCP and TLS when None.

        Raises:
            SettingsError: `FETCH_ALLOW_HOSTS` cannot be read.
        """
        self._listed = listing(settings.FETCH_ALLOW_HOSTS)
        self._resolver = resolver
        self._now = clock.monotonic if clock else time.monotonic
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._opened = transport

    async def fetch(self, url: str, *, max_bytes: int, timeout_s: float) -> Fetched:
        """Get one document.

        Args:
            url: as the caller typed it; letters of any script are allowed in name and path.
            max_bytes: most bytes on the wire, and most after unpacking.
            timeout_s: for everything together, with the wait for a free slot and redirects.

        Raises:
            Unprocessable: the URL, or one that it redirects to, may not be fetched or is not there.
            TooLarge: the document has more than `max_bytes`.
            DeadlineExceeded: it took longer than `timeout_s`.
            ProviderBusy: the server answered 429 or 503.
            BadReply: no such name, no connection, a broken reply, or a status that may pass (500).
        """
        end = self._now() + timeout_s
        async with self._until(end):
            await self._slots.acquire()
        try:
            return await self._follow(target(url, self._listed), max_bytes, end=end)
        finally:
            self._slots.release()

    async def check(self, url: str, *, timeout_s: float = CONNECT_S) -> None:
        """Raise what `fetch` would raise before it connects; redirects are not known yet."""
        async with self._until(self._now() + timeout_s):
            await self._addresses(target(url, self._listed))

    async def close(self) -> None:
        """Close what is open."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.aclose()

    @asynccontextmanager
    async def _until(self, end: float) -> AsyncIterator[None]:
        left_s = end - self._now()
        try:
            if left_s <= 0:
                raise TimeoutError
            async with asyncio.timeout(left_s):
                yield
        except TimeoutError as error:
            raise DeadlineExceeded("The document did not arrive in time.") from error

    async def _follow(self, at: Target, max_bytes: int, *, end: float) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._until(end):
                response = await self._send(at)
            try:
                if response.status_code not in REDIRECTS:
                    content = await self._read(response, max_bytes, end=end)
                    kind = response.headers.get("content-type")
                    return Fetched(at.url, content, kind, _filename(at, response))
                at = self._next(at, response)
            finally:
                await response.aclose()
        raise Unprocessable(f"The URL redirects more than {MAX_REDIRECTS} times.")

    def _next(self, at: Target, response: httpx.Response) -> Target:
        location = response.headers.get("location", "")
        try:
            # urljoin drops control characters without a word, so they are refused before it.
            joined = urljoin(at.url, location) if location.isprintable() else ""
        except ValueError:
            joined = ""
        found = target(joined, self._listed)
        if at.scheme == "https" and found.scheme == "http":
            raise Unprocessable("The URL redirects from https to http.")
        return found

    async def _addresses(self, at: Target) -> list[str]:
        try:
            spelled = literal(at.host)
            found = [at.host] if spelled else await self._resolver(at.host, at.port)
        except (OSError, UnicodeError) as error:
            raise BadReply("The host of the URL has no address.") from error
        numbers = [literal(text) for text in dict.fromkeys(found)]
        if not numbers:
            raise BadReply("The host of the URL has no address.")
        if not all(number and may_connect(number, listed=at.listed) for number in numbers):
            raise Unprocessable("The URL names a host that is not on the public internet.")
        return [str(number) for number in numbers]

    async def _send(self, at: Target) -> httpx.Response:
        addresses = await self._addresses(at)
        if self._opened is None:
            opened = await asyncio.to_thread(_transport)
            self._opened = self._opened or opened
        transport = self._opened
        import httpx  # noqa: PLC0415 - see `_transport`

        failure: Exception | None = None
        for address in addresses[:MAX_TRIES]:
            try:
                return await transport.handle_async_request(_request(at, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
            except httpx.TransportError as error:
                raise BadReply("The server of the URL broke off.") from error
        raise BadReply("The server of the URL cannot be reached.") from failure

    async def _read(self, response: httpx.Response, max_bytes: int, *, end: float) -> bytes:
        import httpx  # noqa: PLC0415

        _refuse_status(response)
        body = Body(response.headers.get("content-encoding", ""), max_bytes)
        body.expect(response.headers.get("content-length", ""))
        chunks = response.aiter_raw()
        while True:
            try:
                async with self._until(end):
                    chunk = await anext(chunks, None)
            except httpx.TransportError as error:
                raise BadReply("The server of the URL broke off.") from error
            if chunk is None:
                return body.finish()
            body.add(chunk)


def _transport() -> httpx.AsyncBaseTransport:
    # Half a second for httpx and the certificates, which only a fetch needs.
    import httpx  # noqa: PLC0415

    # A kept connection was verified for one name and could serve another one that has the same
    # address, so none is kept.
    limits = httpx.Limits(max_connections=MAX_AT_ONCE, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(trust_env=False, limits=limits)


def _request(at: Target, address: str) -> httpx.Request:
    import httpx  # noqa: PLC0415

    path = at.path.encode("ascii")
    pinned = httpx.URL(scheme=at.scheme, host=address, port=at.port, raw_path=path)
    headers = {
        "Host": at.authority,
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "gzip",
        "Connection": "close",
    }
    extensions = {"sni_hostname": at.host, "timeout": {"connect": CONNECT_S}}
    return httpx.Request("GET", pinned, headers=headers, extensions=extensions)


def _refuse_status(response: httpx.Response) -> None:
    if (status := response.status_code) in BUSY:
        said = response.headers.get("retry-after", "")
        wait_s = retry_after_s(said, most_s=MAX_RETRY_AFTER_S)
        raise ProviderBusy(f"The server of the URL answered {status}.", retry_after_s=wait_s)
    if status != 200:
        for_good = 400 <= status < 500 and status not in PASSING
        raise (Unprocessable if for_good else BadReply)(f"The server of the URL answered {status}.")


def _filename(at: Target, response: httpx.Response) -> str:
    """The server's name for the document, else the end of the path, else the host."""
    message = Message()
    message["Content-Disposition"] = response.headers.get("content-disposition", "")
    path = unquote(urlsplit(at.url).path)
    for name in (message.get_filename() or "", path):
        end = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
        clean = "".join(letter for letter in end if letter.isprintable()).strip(" .")
        if clean:
            return clean[-MAX_NAME_CHARS:]
    return at.host
