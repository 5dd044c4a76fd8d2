"""Flags as whole documents, their audit, and reading everything again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render, render_flags
from apps.api.bodies import read_json
from apps.api.flag_desk import READ, ROOT, WRITE, admin_of, wish_of
from apps.api.operation import operation
from apps.api.render import JSON_TYPE
from apps.api.schemas.base import NO_NUL
from apps.api.schemas.flags import (
    AuditReply,
    Cursor,
    FlagDocument,
    ImportReply,
    ReloadReply,
)
from apps.api.services import services_of
from apps.core.errors import BadDefinition

MAX_ROWS = 500
SWITCH = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
DOCUMENTS = {"one flag": {"flags": {"debate_mode": SWITCH}}}
router = APIRouter(tags=["flags"])


def written(moment: object) -> object:
    """Refuse a bare number, which would be taken for seconds since 1970."""
    if isinstance(moment, str) and "-" not in moment[1:]:
        raise ValueError("must be written as 2026-01-31T12:00:00Z")
    return moment


@router.get(
    f"{ROOT}/export", **operation(READ, "All definitions", reply=FlagDocument, errors=(422,))
)
async def export(request: Request, format: Literal["flagd"] = "flagd") -> Response:
    """A flagd document; the same flags give the same bytes."""
    return Response(await (await admin_of(request)).exported(), media_type=JSON_TYPE)


@router.post(
    f"{ROOT}/import",
    **operation(
        WRITE,
        "Load a flagd document",
        body=FlagDocument,
        reply=ImportReply,
        errors=(409,),
        examples=DOCUMENTS,
    ),
)
async def take_in(
    request: Request,
    mode: Annotated[
        Literal["merge", "replace"], Query(description="`replace` removes what is not named.")
    ] = "merge",
    dry_run: Annotated[bool, Query(description="Only tell what would change.")] = False,
    lenient: Annotated[
        bool, Query(description="Accept rules that flagd accepts and evaluates to an error.")
    ] = False,
) -> Response:
    """All of it or nothing; a kill stays. `vetoed` names flags that an environment keeps off.

    `warnings` names rules that flagd accepts and that never say anything.
    """
    from apps.core.flags.definition import parse_document  # noqa: PLC0415
    from apps.core.flags.vetoes import variable_of  # noqa: PLC0415

    body = await read_json(request, FlagDocument)
    admin = await admin_of(request)
    try:
        document = parse_document(
            {**(body.model_extra or {}), "flags": body.flags}, lenient=lenient
        )
    except BadDefinition as error:
        if not dry_run:
            raise
        return render.json_response(await _refused(request, error))
    done, hosts = await admin.take_in(
        document, mode=mode, wish=wish_of(request, ""), dry_run=dry_run
    )
    vetoed = [
        {"key": key, "blocked_by": f"env:{variable_of(key)}=false", "hosts": names}
        for key, names in hosts.items()
    ]
    names = ("version", "created", "changed", "removed")
    told = {name: getattr(done, name) for name in names}
    warnings = [{"pointer": each.pointer, "problem": each.problem} for each in document.warnings]
    said = {"errors": [], "warnings": warnings, "vetoed": vetoed, "dry_run": dry_run}
    return render.json_response({**told, **said})


async def _refused(request: Request, error: BadDefinition) -> dict[str, Any]:
    snapshot = await (await admin_of(request)).snapshot()
    lists = ("created", "changed", "removed", "warnings", "vetoed")
    nothing: dict[str, Any] = {name: [] for name in lists}
    faults = error.members["faults"]
    return {**nothing, "version": snapshot.version, "errors": faults, "dry_run": True}


AUDIT = operation(READ, "Who changed what", reply=AuditReply, errors=(422,))


@router.get("/api/v1/admin/audit", **AUDIT)
@router.get(f"{ROOT}/audit", **AUDIT)
async def audit(
    request: Request,
    flag: Annotated[str | None, Query(max_length=64, pattern=NO_NUL)] = None,
    actor: Annotated[str | None, Query(max_length=200, pattern=NO_NUL)] = None,
    since: Annotated[
        datetime | None, BeforeValidator(written), Query(description="Without a zone: UTC.")
    ] = None,
    cursor: Annotated[Cursor | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
) -> Response:
    """The newest first, and whether the whole chain of hashes holds."""
    from apps.core.storage.flag_audit import AuditFilter  # noqa: PLC0415

    moment = None if since is None else since.replace(tzinfo=since.tzinfo or UTC).timestamp()
    wanted = AuditFilter(flag, actor, None, moment)
    admin = await admin_of(request)
    rows, verdict = await admin.audit(wanted, before_id=cursor, limit=limit)
    return render.json_response(
        {
            "rows": [render_flags.audit_row(row) for row in rows],
            "chain_ok": verdict.ok,
            "broken_id": verdict.broken_id,
            "next_cursor": rows[-1].id if len(rows) == limit else None,
        }
    )


@router.post(f"{ROOT}/reload", **operation(WRITE, "Read everything again", reply=ReloadReply))
async def reload(request: Request) -> Response:
    """SQL and the files of this host now; the other workers notice within a second."""
    version = await (await admin_of(request)).reload()
    files = getattr(services_of(request).flags, "files", None)
    found = {
        "path_name": getattr(files, "env_name", None),
        "sha256": getattr(files, "env_sha256", None),
        "ok": getattr(files, "ok", True),
    }
    return render.json_response({"version": version, "env_file": found})
