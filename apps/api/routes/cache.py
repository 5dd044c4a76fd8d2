"""Administration of the cache, under both prefixes that the requirements use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.operation import operation
from apps.api.schemas.cache import CacheStatsReply, ClearedReply
from apps.api.services import services_of

SCOPE = "admin"
CLEAR = operation(SCOPE, "Empty the cache", reply=ClearedReply, errors=(422,))
STATS = operation(SCOPE, "What the cache did", reply=CacheStatsReply)
Pattern = Annotated[
    str, Query(max_length=200, description="Only keys that begin so; a `*` at the end is ignored.")
]
router = APIRouter(tags=["cache"])


@router.post("/api/v1/admin/cache/clear", **CLEAR)
@router.delete("/api/v1/admin/cache/clear", **CLEAR)
@router.post("/admin/cache/clear", **CLEAR)
@router.delete("/admin/cache/clear", **CLEAR)
async def clear(request: Request, pattern: Pattern = "") -> Response:
    """The next equal search or question is computed again."""
    cleared = await services_of(request).cache.clear(pattern.rstrip("*"))
    return render.json_response({"cleared": cleared})


@router.get("/api/v1/admin/cache/stats", **STATS)
@router.get("/admin/cache/stats", **STATS)
async def stats(request: Request) -> Response:
    """Counted since the start of this worker."""
    return render.json_response({"stats": dict(services_of(request).cache.stats())})
