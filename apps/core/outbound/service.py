"""Asks a server of the operator's own: JSON there, JSON back.

Its address comes from the settings, so it may be on this machine or in a private network; the
guard of `public` is for addresses that callers name. A redirect is not followed.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import orjson

from apps.core.errors import BadReply, ProviderBusy, ProviderFailure, TooLarge
from apps.core.outbound.reading import Body, retry_after_s

if TYPE_CHECKING:
    import httpx

MAX_AT_ONCE = 32
MAX_RETRY_AFTER_S = 60.0
TOO_MANY, SERVER_FAILURE = 429, 500


class Service:
    """One server; safe to share between tasks, and there is nothing to close after a call."""

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        name: str = "The server",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            url: where to send everything.
            key: sent as a bearer token when there is one.
            name: begins the sentences of errors, which never hold address or key.
            transport: sends a request; TCP and TLS when None.
        """
        self._url = url
        self._key = key
        self._name = name
        self._opened = transport

    async def post(self, body: object, *, max_bytes: int) -> object:
        """Send `body` and read the reply; the caller limits the time.

        Args:
            body: what JSON can hold.
            max_bytes: most bytes of the reply on the wire, and most after unpacking.

        Raises:
            ProviderBusy: no connection, a lost one, 429, or a failure of the server's own (5xx).
            BadReply: the reply is too large, cut, or not JSON.
            ProviderFailure: any other status, e.g. a refused key or a redirect.
        """
        import httpx  # noqa: PLC0415 - see `_transport`

        if self._opened is None:
            opened = await asyncio.to_thread(_transport)
            self._opened = self._opened or opened
        try:
            response = await self._opened.handle_async_request(self._request(body))
            try:
                self._refuse_status(response)
                content = await self._read(response, max_bytes)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise ProviderBusy(f"{self._name} cannot be reached, or broke off.") from error
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise BadReply(f"{self._name} sent something that is not JSON.") from error

    def _request(self, body: object) -> httpx.Request:
        import httpx  # noqa: PLC0415

        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Connection": "close",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        # A lone surrogate, which a caller's JSON can carry, has no UTF-8.
        sent = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        return httpx.Request("POST", self._url, headers=headers, content=sent)

    def _refuse_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == TOO_MANY:
            said = response.headers.get("retry-after", "")
            wait_s = retry_after_s(said, most_s=MAX_RETRY_AFTER_S)
            raise ProviderBusy(
                f"{self._name} limits our calls.",
                retry_after_s=MAX_RETRY_AFTER_S if wait_s is None else wait_s,
            )
        if status >= SERVER_FAILURE:
            raise ProviderBusy(f"{self._name} answered {status}.")
        if status != 200:
            raise ProviderFailure(f"{self._name} answered {status}.")

    async def _read(self, response: httpx.Response, max_bytes: int) -> bytes:
        body = Body(response.headers.get("content-encoding", ""), max_bytes)
        try:
            body.expect(response.headers.get("content-length", ""))
            async for chunk in response.aiter_raw():
                body.add(chunk)
        except TooLarge as error:
            raise BadReply(f"{self._name} sent more than {max_bytes} bytes.") from error
        return body.finish()


def _transport() -> httpx.AsyncBaseTransport:
    # Half a second for httpx and the certificates, which only a call needs.
    import httpx  # noqa: PLC0415

    # No connection is kept: nothing to close, nothing stale, and a call takes a server far longer
    # than a handshake. Certificates are found where the environment says (SSL_CERT_FILE).
    limits = httpx.Limits(max_connections=MAX_AT_ONCE, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(trust_env=True, limits=limits)
