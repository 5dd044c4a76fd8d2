"""The HTTP face: one application, its routes in the order of use, and one layer around all.

Run it with `uvicorn apps.api.main:app` or `dtrag serve`.
"""

from __future__ import annotations

import apps.core.one_thread  # noqa: F401 - before anything that imports numpy

# isort: split
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from apps.api import openapi, wiring
from apps.api.direct import by_address
from apps.api.errors import on_error
from apps.api.middleware import Limits, Shell
from apps.api.operation import SCOPE
from apps.api.records import Records
from apps.api.routes import (
    answer,
    cache,
    documents,
    experiments,
    feedback,
    flag_documents,
    flags,
    health,
    keys,
    metrics,
    ofrep,
    pages,
    rollouts,
    runs,
    search,
    socket,
)
from apps.api.routes.health import product_version
from apps.api.services import Services
from apps.api.tracing import Traced
from apps.core.errors import DtRagError
from apps.core.settings import Settings, SettingsError, load
from apps.core.wiring import NO_TRACES, SystemClock, Tracing, tracing

ROUTERS = (
    search.router,
    answer.router,
    runs.router,
    socket.router,
    feedback.router,
    documents.router,
    keys.router,
    flag_documents.router,
    flags.router,
    ofrep.router,
    rollouts.router,
    experiments.router,
    cache.router,
    health.router,
    metrics.router,
    pages.router,
)
# The limit inside must come first, so that its fallback can still speak.
GRACE_S = 2.0
Lifespan = Callable[["Application"], AbstractAsyncContextManager[None]]
Opening = Callable[[Settings], AbstractAsyncContextManager[Services]]


class Application(FastAPI):
    """FastAPI with our one layer outside its own, so that a direct route passes none of them.

    outermost: what a request meets first.
    services: what the routes work with, from the start of the service to its end.
    records: of the requests of this process.
    """

    outermost: ASGIApp
    services: Services
    records: Records

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or follow the service's start and end."""
        scope["app"] = self
        await self.outermost(scope, receive, send)

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """FastAPI with its layers."""
        await super().__call__(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """FastAPI's layers without the outermost, whose plain text would come before our problem.

        Raises:
            TypeError: the framework has another order of layers.
        """
        last_resort = super().build_middleware_stack()
        if not isinstance(last_resort, ServerErrorMiddleware):
            raise TypeError(f"{last_resort} stands where Starlette catches what nobody else does.")
        return last_resort.app


def create_app(
    settings: Settings | None = None,
    *,
    opening: Opening = wiring.services,
    tracing_to: Tracing | None = None,
) -> Application:
    """Make the application.

    Args:
        settings: read from the environment when absent.
        opening: builds the services at start and closes them at the end; tests give fakes.
        tracing_to: where spans go; to the collector that the settings name when absent.

    Raises:
        SettingsError: a value in the environment cannot be used.
    """
    settings = settings or load()
    tracing_to = tracing_to or tracing(settings)
    clock = SystemClock()
    records = Records(settings, clock)
    lifespan = partial(
        _lifespan, opening=partial(opening, settings), records=records, tracing_to=tracing_to
    )
    app = _framework(lifespan)
    direct = by_address(app.routes)
    shell = Shell(
        app.framework, limits=limits(settings), clock=clock, records=records, direct=direct
    )
    app.records = records
    app.outermost = shell if tracing_to is NO_TRACES else Traced(shell)
    return app


def _framework(lifespan: Lifespan) -> Application:
    app = Application(
        title="DT-RAG",
        version=product_version(),
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    _add_routes(app)
    for error in (DtRagError, HTTPException, RequestValidationError):
        app.add_exception_handler(error, on_error)
    # FastAPI's own way to replace the document.
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
    return app


def limits(settings: Settings) -> Limits:
    """How large and how long a request may be."""
    return Limits(
        body_bytes=settings.MAX_BODY_BYTES,
        upload_bytes=settings.MAX_UPLOAD_BYTES,
        request_s=settings.REQUEST_TIMEOUT_S + GRACE_S,
    )


@asynccontextmanager
async def _lifespan(
    app: Application,
    *,
    opening: Callable[[], AbstractAsyncContextManager[Services]],
    records: Records,
    tracing_to: Tracing,
) -> AsyncIterator[None]:
    with tracing_to() as traces:
        app.state.traces = traces
        with traces.here() if traces else nullcontext():
            async with opening() as services:
                app.services = services
                yield
    records.flush()


def _add_routes(app: FastAPI) -> None:
    for router in ROUTERS:
        _refuse_undeclared(router)
        app.router.routes.extend(router.routes)


def _refuse_undeclared(router: APIRouter) -> None:
    for route in router.routes:
        declared = getattr(route, "openapi_extra", None) or {}
        if SCOPE not in declared:
            raise TypeError(f"{route} does not say who may call it.")


def _made() -> Application:
    try:
        return create_app()
    except SettingsError as error:
        raise SystemExit(str(error)) from None


app = _made()
