"""`dtrag flags`: see and change flags straight in SQL, with or without a running server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.markup import escape
from rich.text import Text

from apps.cli.database import open_storage
from apps.cli.flag_kill import kill
from apps.cli.flag_words import attributes, coloured, edit_of, named, record, wish_of
from apps.cli.output import console, errors, machine, table, told_plainly
from apps.core.flags.catalogue import key_of
from apps.core.settings import load

if TYPE_CHECKING:
    from apps.core.flags.admin import FlagAdmin

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="See, change, kill and explain feature flags.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Key = Annotated[str, typer.Argument(help="A flag, by key or by the name of its variable.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the audit.")]


@app.command("list")
@told_plainly()
def list_flags(json: Json = False) -> None:
    """All flags and what decides them."""
    version, found = _run(lambda admin: admin.all())
    if json:
        machine({"flags": [record(view) for view in found], "snapshot_version": version})
        return
    columns = ["flag", "state", "default", "rollout", "owner", "expires", "version", "because"]
    rows = [
        [
            view.key,
            coloured(view),
            view.default_variant,
            view.rollout and f"{view.rollout.state} {view.rollout.percent:g} %",
            view.owner,
            view.expires_at and Text(view.expires_at).append(" stale" * view.stale, "red"),
            view.version or None,
            view.decided_by and f"{view.decided_by}: {view.because}",
        ]
        for view in found
    ]
    table(columns, rows)


@app.command()
@told_plainly()
def get(key: Key, json: Json = False) -> None:
    """One flag with its definition."""
    view = _run(lambda admin: admin.get(key_of(key)))
    shown = {**record(view), "definition": view.definition}
    if json:
        machine(shown)
    else:
        table(["field", "value"], [*shown.items()])


@app.command("set")
@told_plainly()
def set_flags(
    changes: Annotated[list[str], typer.Argument(help="FLAG=on, off, auto or 12.5%.")],
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Turn flags on or off, give them a share, or leave them to the environment."""
    wanted = [edit_of(change) for change in changes]
    wish = wish_of(reason)

    async def work(admin: FlagAdmin) -> list[dict[str, object]]:
        done = []
        for key, edit in wanted:
            view = await admin.edit(key_of(key), edit, wish=wish)
            done.append(record(view))
            if not json:
                console.print(Text.assemble(view.key, " is ", coloured(view), "."))
        return done

    done = _run(work)
    if json:
        machine({"flags": done})


app.command()(kill)


@app.command()
@told_plainly()
def unkill(
    keys: Annotated[list[str] | None, typer.Argument(help="Flags; none with --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="End the kill of all flags.")] = False,
    reason: Reason = "",
) -> None:
    """End a kill; the other layers decide again."""
    wish, chosen = wish_of(reason), named(keys, every=every)

    async def work(admin: FlagAdmin) -> None:
        if every:
            await admin.unkill_all(wish=wish)
        for key in chosen:
            await admin.unkill(key, wish=wish)

    _run(work)
    console.print("no longer killed: " + ", ".join(map(escape, keys or ["all flags together"])))


@app.command()
@told_plainly()
def explain(
    key: Key,
    targeting_key: Annotated[str, typer.Option("--targeting-key", help="Of the caller.")] = "",
    attr: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the caller.")] = None,
    json: Json = False,
) -> None:
    """Show what every layer says for a caller, and which one decides."""
    from apps.core.flags.context import foreign_context  # noqa: PLC0415 - keeps `--help` quick

    given = attributes(attr or ())
    now = int(datetime.now(UTC).timestamp())
    context = foreign_context(targeting_key, given, timestamp=now)

    async def work(admin: FlagAdmin) -> dict[str, object]:
        return (await admin.snapshot()).explain(key_of(key), context).as_json()

    found = _run(work)
    if json:
        machine(found)
        return
    decided = str(found["decided_by"])
    rows = [
        [Text(f"{step['layer']} ←", "bold") if step["layer"] == decided else step["layer"],
         step["opinion"], step["detail"]]
        for step in found["ladder"]  # type: ignore[attr-defined]
    ]  # fmt: skip
    table(["layer", "says", "because"], rows)
    said = f"{found['key']} = {found['value']} ({found['reason']}, {decided})"
    console.print(said, markup=False)


@app.command()
@told_plainly()
def export(
    file: Annotated[Path | None, typer.Argument(help="Where to; stdout without.")] = None,
) -> None:
    """Write all definitions as a flagd document."""
    document = _run(lambda admin: admin.exported())
    if file is None:
        sys.stdout.write(document.decode())
    else:
        file.write_bytes(document)


@app.command("import")
@told_plainly()
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A flagd document.")],
    replace: Annotated[bool, typer.Option("--replace", help="Remove other flags.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell.")] = False,
    lenient: Annotated[bool, typer.Option("--lenient", help="Accept what flagd accepts.")] = False,
    json: Json = False,
) -> None:
    """Load a flagd document, all of it or nothing."""
    from apps.core.flags.definition import parse_document  # noqa: PLC0415

    document = parse_document(file.read_bytes(), lenient=lenient)
    wish = wish_of("")
    done, vetoed = _run(
        lambda admin: admin.take_in(
            document, mode="replace" if replace else "merge", wish=wish, dry_run=dry_run
        )
    )
    for key, hosts in vetoed.items():
        errors.print(f"{key} stays off: the environment of {', '.join(hosts)} forbids it.")
    for warning in document.warnings:
        errors.print(escape(f"{warning.pointer}: {warning.problem}"))
    names = ("created", "changed", "removed")
    if json:
        machine({**{name: list(getattr(done, name)) for name in names}, "dry_run": dry_run})
    else:
        rows = [[name, ", ".join(getattr(done, name)) or None] for name in names]
        table(["would be" if dry_run else "were", "flags"], rows)


@app.command()
@told_plainly()
def audit(
    flag: Annotated[str | None, typer.Option(help="Only this flag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows.")] = 20,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the chain.")] = False,
    json: Json = False,
) -> None:
    """Show who changed what; exit 1 when a row of the chain was tampered with."""
    from apps.core.storage.flag_audit import AuditFilter  # noqa: PLC0415 - SQLAlchemy

    wanted = AuditFilter(key_of(flag) if flag else None)
    rows, verdict = _run(lambda admin: admin.audit(wanted, limit=limit))
    shown = [
        {"id": row.id, "at": datetime.fromtimestamp(row.at, UTC).isoformat(timespec="seconds"),
         "actor": row.actor, "source": row.source, "flag": row.flag_key, "reason": row.reason,
         "before": row.before, "after": row.after}
        for row in rows
    ]  # fmt: skip
    if json:
        said = {"chain_ok": verdict.ok, "rows_checked": verdict.rows, "why": verdict.why}
        machine({"rows": [] if verify else shown, **said, "broken_id": verdict.broken_id})
    elif not verify and shown:
        columns = list(shown[0])[:6]
        table(columns, [[row[name] for name in columns] for row in shown])
    if not verdict.ok:
        errors.print(f"[red]Row {verdict.broken_id} of the audit is broken:[/red] {verdict.why}")
        raise typer.Exit(1)
    if not json:
        console.print(f"[green]The chain holds[/green]: {verdict.rows} rows.")


@app.command()
@told_plainly()
def reload(json: Json = False) -> None:
    """Have every worker read the flags again."""
    version = _run(lambda admin: admin.reload())
    if json:
        machine({"version": version})
    else:
        console.print(f"Workers read again, now version {version}.")


def _run(work: Callable[[FlagAdmin], Awaitable[T]]) -> T:
    from apps.core.flags.admin import FlagAdmin  # noqa: PLC0415 - SQLAlchemy costs a second
    from apps.core.flags.sources import FlagFiles  # noqa: PLC0415
    from apps.core.wiring import SystemClock  # noqa: PLC0415

    settings = load()

    async def whole() -> T:
        async with open_storage(settings) as storage:
            said = FlagFiles(settings).said
            return await work(FlagAdmin(storage, None, SystemClock(), said=said))

    return asyncio.run(whole())
