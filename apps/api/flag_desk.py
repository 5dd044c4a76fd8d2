"""What every route about flags begins and ends with: the admin, the caller, versions, waiting."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from fastapi import Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render, render_flags
from apps.api.admission import caller_of
from apps.api.bodies import read_json, whole_body
from apps.api.render import Json
from apps.api.schemas.flags import ReasonBody
from apps.api.services import services_of
from apps.core.errors import VersionConflict

if TYPE_CHECKING:
    from apps.core.flags.acks import Acked
    from apps.core.flags.admin import FlagAdmin, Wish

READ, WRITE = "flags:read", "flags:write"
ROOT = "/api/v1/admin/flags"
ETAG = re.compile(r'(?:W/)?"?(\d{1,18})"?', re.ASCII)

FlagKey = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Wait = Annotated[bool, Query(description="Wait up to 2 s for all workers; 202 if some lack.")]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        pattern=r'^(\*|(W/)?"?[0-9]{1,18}"?)$',
        description="The version that was seen; 0: there is none yet, *: any.",
    ),
]


async def admin_of(request: Request) -> FlagAdmin:
    """Flags as people read and change them."""
    # Imported late: SQLAlchemy is loaded behind the open port.
    from apps.core.flags.admin import FlagAdmin  # noqa: PLC0415

    services = services_of(request)
    storage = (await services.stores.get()).storage
    return FlagAdmin(storage, services.flags, services.clock)


def wish_of(request: Request, reason: str) -> Wish:
    """Who asks, through which door, and why."""
    from apps.core.flags.admin import Wish  # noqa: PLC0415

    return Wish(f"key:{caller_of(request).key_id}", "rest", reason)


async def reason_of(request: Request) -> str:
    """Why; a body need not come."""
    if not await whole_body(request):
        return ""
    return (await read_json(request, ReasonBody)).reason


def seen_version(header: str | None) -> int | None:
    """What `If-Match` says; None for any version.

    Raises:
        VersionConflict: it is none of our versions.
    """
    if header is None or header.strip() == "*":
        return None
    found = ETAG.fullmatch(header.strip())
    if found is None:
        raise VersionConflict("If-Match is none of the versions of flags.")
    return int(found[1])


async def waited(request: Request, admin: FlagAdmin, version: int, *, wait: bool) -> Acked | None:
    """Which workers have switched, if the caller wants to know."""
    if not wait:
        return None
    from apps.core.flags import acks  # noqa: PLC0415

    return await acks.wait_for(admin.storage, version, clock=services_of(request).clock)


def told(body: Json, found: Acked | None, *, etag: int | None = None) -> Response:
    """A change's reply; 202 while some worker still has the old value."""
    whole = {**body, **render_flags.waited(found)}
    response = render.json_response(whole, status=202 if found and found.missing else 200)
    if etag is not None:
        response.headers["ETag"] = f'"{etag}"'
    return response
