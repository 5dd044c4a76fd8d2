"""The one layer around every request: id, size, deadline, headers, last handler, access record.

Pure ASGI. One layer instead of six because each layer wraps `send` once more, and never
Starlette's BaseHTTPMiddleware, which was measured to cost a factor of 2.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.api.deadline import Work, within
from apps.api.direct import DirectRoute
from apps.api.errors import INTERNAL, problem_response
from apps.api.exchange import KEY, Exchange, fresh_id
from apps.api.records import Finished, Records
from apps.core.domain.ports import Clock
from apps.core.errors import DtRagError, SystemFailure, TooLarge
from apps.core.telemetry import traces

# Printable ASCII without separators; long enough for a W3C trace parent.
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
# Multipart framing of an upload that is itself exactly as large as it may be.
FRAMING_BYTES = 64 * 1024
Application = Callable[[Scope, Receive, Send], Work]
Direct = Mapping[tuple[str, str], DirectRoute]
NO_ROUTES: Direct = MappingProxyType({})
SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
        b"form-action 'self'",
    ),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large and how long a request may be; uploads have their own pair."""

    body_bytes: int
    upload_bytes: int
    request_s: float
    upload_s: float = 300.0
    upload_paths: frozenset[str] = frozenset({"/api/v1/documents"})

    def of(self, scope: Scope) -> tuple[int, float]:
        """Bytes and seconds for this request."""
        if scope["method"] == "POST" and scope["path"] in self.upload_paths:
            return self.upload_bytes + FRAMING_BYTES, self.upload_s
        return self.body_bytes, self.request_s


class Shell:
    """Wraps the application; see the module's first line.

    Args:
        app: what is wrapped.
        limits: of a request.
        clock: measures it.
        records: take note of it.
        direct: routes by method and path that are called past the framework, which would take
            seven layers and about 100 µs to come to the same function.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        clock: Clock,
        records: Records,
        direct: Direct = NO_ROUTES,
    ) -> None:
        self.app = app
        self.limits = limits
        self.clock = clock
        self.records = records
        self.direct = direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or pass on what is not HTTP."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # A copy, because the server keeps the original to know that no body is wanted.
            scope, send = {**scope, "method": "GET"}, _headed(send)
        path: str = scope["path"]
        if len(path) > 1 and path[-1] == "/":
            # One spelling inside, so that both answer without a redirect.
            scope["path"] = path.rstrip("/") or "/"
        max_bytes, limit_s = self.limits.of(scope)
        started_s = self.clock.monotonic()
        asked = dict(reversed(scope["headers"]))
        exchange = Exchange(request_id_of(asked), started_s, started_s + limit_s, asked)
        scope[KEY] = exchange
        answer = self._answering(exchange, send)
        try:
            await self._guarded(limit_s, scope, _bounded(scope, receive, max_bytes), answer)
        except ClientDisconnect:
            # Nobody is left to answer; the record still tells how long it took.
            exchange.status = exchange.status or 499
        finally:
            self._record(exchange, scope)

    async def _guarded(self, limit_s: float, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[KEY]
        try:
            _refuse_announced(exchange, self.limits.of(scope)[0])
            await within(limit_s, exchange, self._route(scope)(scope, receive, send))
            return
        except DtRagError as error:
            failure = error
        except ClientDisconnect:
            raise
        except Exception as error:
            self.records.failed(exchange.request_id, error)
            failure = SystemFailure(INTERNAL)
        if exchange.status:
            # The head is out: only a broken connection can still say that the body is not whole.
            raise failure
        await problem_response(failure, exchange.request_id)(scope, receive, send)

    def _route(self, scope: Scope) -> Application:
        route = self.direct.get((scope["method"], scope["path"]))
        # Below a proxy's prefix the path has to be taken apart first, which the framework does.
        if route is None or scope.get("root_path"):
            return self.app  # type: ignore[return-value]  # an async function, or one of FastAPI's
        scope["route"] = route
        return route.app  # type: ignore[return-value]

    def _answering(self, exchange: Exchange, send: Send) -> Send:
        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._head(exchange, message)
            await send(message)

        return answering

    def _head(self, exchange: Exchange, message: Message) -> None:
        exchange.status = message["status"]
        total_ms = (self.clock.monotonic() - exchange.started_s) * 1000
        timing = f"total;dur={total_ms:.2f}"
        for name, spent_ms in exchange.timings_ms:
            timing += f", {name};dur={spent_ms:.2f}"
        message["headers"] = [
            *message.get("headers", ()),
            *SECURITY,
            *exchange.headers.items(),
            (b"x-request-id", exchange.request_id.encode()),
            (b"server-timing", timing.encode()),
        ]

    def _record(self, exchange: Exchange, scope: Scope) -> None:
        route = scope.get("route")
        self.records.finished(
            Finished(
                request_id=exchange.request_id,
                method=scope["method"],
                route=getattr(route, "path", "unmatched"),
                status=exchange.status or 500,
                duration_ms=(self.clock.monotonic() - exchange.started_s) * 1000,
                key_id=exchange.caller.key_id if exchange.caller else None,
                cached=exchange.cached,
                trace_id=traces.trace_id(),
            )
        )


def _headed(send: Send) -> Send:
    async def headed(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return headed


def request_id_of(asked: Mapping[bytes, bytes]) -> str:
    """The caller's `X-Request-ID` when it is harmless, else a new one."""
    value = asked.get(b"x-request-id")
    if value is not None and REQUEST_ID.fullmatch(value):
        return str(value, "ascii")
    return fresh_id()


def _refuse_announced(exchange: Exchange, max_bytes: int) -> None:
    length = exchange.asked.get(b"content-length", b"")
    if length.isdigit() and int(length) > max_bytes:
        raise TooLarge(f"The body is larger than {max_bytes} bytes.")


def _bounded(scope: Scope, receive: Receive, max_bytes: int) -> Receive:
    if scope["method"] == "GET":
        return receive
    total = 0

    async def bounded() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > max_bytes:
            raise TooLarge(f"The body is larger than {max_bytes} bytes.")
        return message

    return bounded
