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

from apps.api import openapi, wiring
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
    search,
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
Opening = Callable[[Settings], AbstractAsyncContextManager[Services]]


def create_app(
    settings: Settings | None = None,
    *,
    opening: Opening = wiring.services,
    tracing_to: Tracing | None = None,
) -> FastAPI:
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
    lifespan = partial(_lifespan, opening=partial(opening, settings), records=records)
    app = FastAPI(
        title="DT-RAG",
        version=product_version(),
        lifespan=partial(lifespan, tracing_to=tracing_to),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    _add_routes(app)
    for error in (DtRagError, HTTPException, RequestValidationError):
        app.add_exception_handler(error, on_error)
    app.add_middleware(Shell, limits=limits(settings), clock=clock, records=records)
    if tracing_to is not NO_TRACES:
        app.add_middleware(Traced)
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
    app: FastAPI,
    *,
    opening: Callable[[], AbstractAsyncContextManager[Services]],
    records: Records,
    tracing_to: Tracing,
) -> AsyncIterator[None]:
    with tracing_to() as traces:
        app.state.traces = traces
        with traces.here() if traces else nullcontext():
            async with opening() as services:
                app.state.services = services
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


def _made() -> FastAPI:
    try:
        return create_app()
    except SettingsError as error:
        raise SystemExit(str(error)) from None


app = _made()
