"""Pages for people: the search page, the API's documentation, and their assets."""

from __future__ import annotations

from importlib.resources import files

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.operation import PUBLIC, operation
from apps.core.errors import NotFound

# The whole list: a name that is not here does not exist, so no path can lead elsewhere.
ASSETS = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "messages.js": "text/javascript; charset=utf-8",
    "docs.html": "text/html; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "vendor/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "vendor/swagger-ui.css": "text/css; charset=utf-8",
}
PAGE = operation(PUBLIC, "A page for people", errors=(404,))
router = APIRouter(include_in_schema=False)


@router.get("/", **PAGE)
async def home(request: Request) -> Response:
    """Where a person types a question."""
    return asset("index.html")


@router.get("/docs", **PAGE)
async def docs(request: Request) -> Response:
    """The whole interface, to read and to try."""
    return asset("docs.html")


@router.get("/openapi.json", **PAGE)
async def openapi(request: Request) -> Response:
    """The same for programs."""
    return Response(orjson.dumps(request.app.openapi()), media_type=render.JSON_TYPE)


@router.get("/ui/{name:path}", **PAGE)
async def ui(request: Request, name: str) -> Response:
    """Scripts, styles and pictures."""
    return asset(name)


def asset(name: str) -> Response:
    """A file of the page's package.

    Raises:
        NotFound: the name is not on the list.
    """
    media_type = ASSETS.get(name)
    if media_type is None:
        raise NotFound("There is no such page.")
    content = files("apps.api.ui").joinpath(name).read_bytes()
    return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=3600"})
