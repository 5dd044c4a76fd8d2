"""`dtrag keys`: make, list and revoke API keys."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.database import open_storage
from apps.cli.output import console, machine, table, told_plainly
from apps.core.errors import Unprocessable
from apps.core.settings import load

if TYPE_CHECKING:
    from apps.core.storage.keys import ApiKey

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")
DAY_S = 86_400.0
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
@told_plainly()
def create(
    name: Annotated[str, typer.Option(help="Who or what uses the key.")],
    scopes: Annotated[str, typer.Option(help="Comma-separated scopes.")] = "search,answer",
    expires_days: Annotated[float | None, typer.Option(help="Days the key is valid.")] = None,
    allowed_ips: Annotated[str, typer.Option(help="Comma-separated addresses.")] = "",
    json: Json = False,
) -> None:
    """Make a key; its secret is shown this once."""
    from apps.core.storage import keys  # noqa: PLC0415 - SQLAlchemy costs a second
    from apps.core.storage.secret import service_secret  # noqa: PLC0415

    if not name.strip():
        raise Unprocessable("A key needs a name.")
    settings, now = load(), time.time()
    wish = keys.KeyWish(
        name,
        _listed(scopes),
        allowed_ips=_listed(allowed_ips),
        expires_at=None if expires_days is None else now + expires_days * DAY_S,
    )

    async def work() -> keys.NewKey:
        async with open_storage(settings) as storage, storage.session() as s:
            return await keys.create(s, wish, pepper=service_secret(settings), now=now)

    made = asyncio.run(work())
    if json:
        machine({"id": made.key.id, "api_key": made.secret, "scopes": list(made.key.scopes)})
    else:
        console.print(f"{made.secret}\n[dim]shown once; store it now[/dim]", highlight=False)


@app.command("list")
@told_plainly()
def list_keys(json: Json = False) -> None:
    """List all keys, never their secrets."""
    from apps.core.storage import keys  # noqa: PLC0415

    async def work() -> list[keys.ApiKey]:
        async with open_storage(load()) as storage, storage.reading() as s:
            return await keys.every(s)

    now = time.time()
    rows = [_row(key, now) for key in asyncio.run(work())]
    if json:
        machine({"keys": rows})
    elif rows:
        table(list(rows[0]), [list(row.values()) for row in rows])


@app.command()
@told_plainly()
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id.")]) -> None:
    """Close a key at once, in every worker."""
    from apps.core.storage import keys  # noqa: PLC0415

    async def work() -> None:
        async with open_storage(load()) as storage, storage.session() as s:
            await keys.revoke(s, key_id, now=time.time())

    asyncio.run(work())
    console.print(f"{key_id} is revoked.")


def _row(key: ApiKey, now: float) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "active": key.active(now),
        "created": _day(key.created_at),
        "expires": _day(key.expires_at),
        "last_used": _day(key.last_used_at),
    }


def _day(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).date().isoformat()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
