"""Health: alive, ready, and the summary that the deployment report shows."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.operation import PUBLIC, operation
from apps.api.schemas.health import AliveReply, HealthReply, ReadyReply
from apps.api.services import Part, Services, services_of
from apps.core.errors import DtRagError

STATM = Path("/proc/self/statm")
router = APIRouter(tags=["health"])
READY = operation(
    PUBLIC, "Whether searches and answers can be served", reply=ReadyReply, errors=(503,)
)


@router.get(
    "/health",
    **operation(PUBLIC, "The service in one word", reply=HealthReply, errors=(503,)),
)
async def health(request: Request) -> Response:
    """`healthy`; `degraded` while something optional is away; 503 when the database is gone."""
    services = services_of(request)
    database = await _database(services)
    redis = await services.cache.redis_state()
    status = "healthy"
    if database == "disconnected":
        status = "unhealthy"
    elif database == "loading" or redis == "disconnected":
        status = "degraded"
    body = {
        "status": status,
        "database": database,
        "redis": redis,
        "timestamp": f"{services.clock.now():.6f}",
        "version": product_version(),
        "environment": services.settings.ENVIRONMENT,
    }
    return render.json_response(body, status=503 if status == "unhealthy" else 200)


@router.get("/healthz", **operation(PUBLIC, "Whether the process lives", reply=AliveReply))
async def alive(request: Request) -> Response:
    """Process and memory; touches no dependency."""
    services = services_of(request)
    body = {
        "status": "alive",
        "pid": os.getpid(),
        "memory_bytes": resident_bytes(),
        "uptime_s": services.clock.monotonic() - services.started_s,
    }
    return render.json_response(body)


@router.get("/readyz", **READY)
@router.get("/health/ready", **READY)
async def ready(request: Request) -> Response:
    """503 until index and database are usable; the body names each check."""
    services = services_of(request)
    checks = {
        "index": _check(services.index.version is not None, "No index version is open yet."),
        "database": await _alive_database(services),
        "ingestion": _part(services.intake),
        "answerer": _part(services.answerer),
    }
    search = checks["index"]["ok"]
    usable = bool(search and checks["database"]["ok"])
    body = {
        "ready": usable,
        "search": search,
        "answer": usable and checks["answerer"]["ok"],
        "checks": checks,
        "index_version": services.index.version,
        "passages": services.index.passages,
        "vectors": {"done": services.index.vectors, "total": services.index.passages},
    }
    return render.json_response(body, status=200 if usable else 503)


def _check(ok: object, detail: str) -> dict[str, object]:
    return {"ok": bool(ok), "detail": "" if ok else detail}


def _part(part: Part[Any]) -> dict[str, object]:
    detail = part.error.detail if part.error else f"The {part.name} is loading."
    return _check(part.ready, detail)


async def _alive_database(services: Services) -> dict[str, object]:
    stores = services.stores.value
    if stores is None:
        return _part(services.stores)
    try:
        await stores.ping()
    except DtRagError as error:
        return _check(False, error.detail)
    return _check(True, "")


async def _database(services: Services) -> str:
    if not services.stores.ready and services.stores.error is None:
        return "loading"
    return "connected" if (await _alive_database(services))["ok"] else "disconnected"


def product_version() -> str:
    """The installed version, or `unknown` when run from a bare checkout."""
    try:
        return version("dt-rag")
    except PackageNotFoundError:
        return "unknown"


def resident_bytes() -> int | None:
    """Memory that the process occupies now; None where the system has no /proc."""
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
