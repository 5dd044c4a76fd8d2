"""`dtrag flags kill`: works with a broken env file, and on this host without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from apps.cli.database import open_storage
from apps.cli.flag_words import named, wish_of
from apps.cli.output import console, errors, machine, told_plainly
from apps.core import least_settings
from apps.core.domain.flags import EVERY_FLAG
from apps.core.errors import NotFound, StorageDown, SystemFailure
from apps.core.flags.catalogue import CATALOGUE
from apps.core.least_settings import Least

if TYPE_CHECKING:
    from apps.core.flags.acks import Acked
    from apps.core.flags.admin import FlagAdmin, Wish


@dataclass(slots=True)
class Done:
    """What became of a kill; `file` is the KILL file when only this host was reached.

    workers: how many are alive; None when that could not be read.
    """

    version: int | None = None
    unknown: tuple[str, ...] = ()
    acked: Acked | None = None
    workers: int | None = None
    file: str | None = None


@told_plainly()
def kill(
    keys: Annotated[list[str] | None, typer.Argument(help="Flags; none with --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every flag.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until all workers know, 2 s.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it stays in the audit.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Switch flags off above everything else; exit 1 if a worker or a flag is missing."""
    chosen = named(keys, every=every)
    least = least_settings.load()
    if least.fault:
        _warn(f"{least.fault} A kill does not need it.")
    done = asyncio.run(_done(least, chosen, wish_of(reason), wait=wait))
    killed = [key for key in chosen if key not in done.unknown] or ["every flag"] * every
    if json:
        machine(_as_json(killed, done, least.fault))
    else:
        _tell(killed, done)
    late = wait and (done.acked is None or bool(done.acked.missing))
    if done.unknown or late:
        raise typer.Exit(1)


async def _done(least: Least, keys: Sequence[str], wish: Wish, *, wait: bool) -> Done:
    from apps.core.flags.admin import FlagAdmin  # noqa: PLC0415 - SQLAlchemy costs a second
    from apps.core.wiring import SystemClock  # noqa: PLC0415

    try:
        if not least.has_database:
            raise StorageDown("Nothing that can be read says where the database is.")
        async with open_storage(least.settings) as storage:
            return await _everywhere(FlagAdmin(storage, None, SystemClock()), keys, wish, wait=wait)
    except (SystemFailure, OSError) as error:
        why = error.detail if isinstance(error, SystemFailure) else type(error).__name__
        _warn(why)
        return _here(least, keys, wish)


async def _everywhere(admin: FlagAdmin, keys: Sequence[str], wish: Wish, *, wait: bool) -> Done:
    from apps.core.flags import acks  # noqa: PLC0415
    from apps.core.storage import flag_acks  # noqa: PLC0415

    done = Done()
    if not keys:
        done.version = (await admin.kill_all(wish=wish)).version
    for key in keys:
        try:
            done.version = (await admin.kill(key, wish=wish)).version
        except NotFound:
            done.unknown = (*done.unknown, key)
    try:
        if wait and done.version is not None:
            done.acked = await acks.wait_for(admin.storage, done.version, clock=admin.clock)
        async with admin.storage.reading() as s:
            done.workers = len(await flag_acks.live(s))
    except StorageDown as error:
        _warn(f"The kill is stored. Who has switched cannot be read: {error.detail}")
    return done


def _here(least: Least, keys: Sequence[str], wish: Wish) -> Done:
    """Write the KILL file, which the workers of this host watch."""
    from apps.core.flags.sources import FlagFiles  # noqa: PLC0415

    path = least.settings.kill_file.absolute()
    if not FlagFiles(least.settings).kill(keys or [EVERY_FLAG], wish.note):
        raise SystemFailure(f"Nothing was killed: {path} cannot be written either.")
    known = {flag.key for flag in CATALOGUE}
    for key in keys:
        if key not in known:
            _warn(
                f"The code knows no flag {key!r}; if the database knows none either, mend {path}."
            )
    return Done(file=str(path))


def _tell(killed: Sequence[str], done: Done) -> None:
    for key in done.unknown:
        _warn(f"There is no flag {key!r}.")
    if killed:
        console.print("[red]killed[/red]: " + ", ".join(map(escape, killed)), highlight=False)
    if done.file is not None:
        _warn(
            f"Only this host was reached, by the file {done.file}; repeat it on each host. The "
            "kill lasts until the file is removed."
        )
    elif killed and done.workers == 0:
        _warn("No worker has written to this database within 15 s; is it the service's own?")
    if done.acked is not None:
        console.print(switched(done.acked), highlight=False)


def switched(acked: Acked) -> str:
    """Who has switched, and when; and who has not."""
    counted = f"{acked.acked} of {acked.expected} workers switched in {acked.elapsed_ms:.0f} ms"
    each = ", ".join(f"{worker} {ms:.0f} ms" for worker, ms in acked.switched.items())
    told = f"{counted}: {each}" if each else counted
    return f"{told}; missing: {', '.join(acked.missing)}" if acked.missing else told


def _as_json(killed: Sequence[str], done: Done, fault: str) -> dict[str, object]:
    nobody = dict.fromkeys(("acked", "expected", "elapsed_ms", "switched", "missing"))
    return {
        "killed": list(killed),
        "unknown": list(done.unknown),
        "version": done.version,
        "local": done.file is not None,
        "kill_file": done.file,
        **(done.acked.as_json() if done.acked else nobody),
        "settings_fault": fault or None,
    }


def _warn(sentence: str) -> None:
    errors.print(f"[yellow]dtrag:[/yellow] {escape(sentence)}", highlight=False, soft_wrap=True)
