"""`dtrag rollout create|start|list|status|pause|resume|promote|rollback|trigger`.

They write to the database themselves, so they work while the service is down too.
"""

from __future__ import annotations

import asyncio
import getpass
import json as json_text
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.database import open_storage
from apps.cli.output import console, machine, table, told_plainly
from apps.cli.rollout_evidence import evidence
from apps.cli.rollout_plan import leave_words, print_bases, print_warnings
from apps.core.errors import Unprocessable
from apps.core.settings import load
from apps.core.wiring import SystemClock

if TYPE_CHECKING:
    from apps.core.flags.forecast import Forecast
    from apps.core.flags.rollouts import RolloutAdmin
    from apps.core.storage.flag_audit import Cause

Told = dict[str, Any]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="The rollout's id, or its flag for the newest one.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit.")]
WATCH_S = 1.0
OVER = frozenset({"ROLLED_BACK", "COMPLETED", "KILLED"})


def add_to(app: typer.Typer) -> None:
    """Add the commands to `dtrag rollout`."""
    app.command()(create)
    app.command("list")(list_rollouts)
    app.command()(status)
    for command in (evidence, start, pause, resume, promote, rollback, trigger):
        app.command()(command)


@told_plainly()
def create(
    flag: Annotated[str, typer.Argument(help="The flag's key.")],
    stages: Annotated[str | None, typer.Option(help="Percentages: 5,25,50,100.")] = None,
    by: Annotated[
        str, typer.Option(help="What is assigned as a whole.")
    ] = "user_id,session_id,request_id",
    holdback: Annotated[float | None, typer.Option(help="Percent kept in the control.")] = None,
    policy: Annotated[str, typer.Option(help="JSON: preset, and fields that differ.")] = "{}",
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Make a draft; it changes nothing until it is started."""
    from apps.core.flags.rollouts import Wanted  # noqa: PLC0415 - SQLAlchemy costs a second

    wanted = Wanted(flag, _numbers(stages), tuple(by.split(",")), holdback, _object(policy))

    async def work(admin: RolloutAdmin) -> Told:
        made, expected = await admin.create(wanted, cause=cause_of(reason))
        if not json:
            _print_draft(made, expected)
        return {**made, "forecast": expected.as_json(), "warnings": list(expected.warnings)}

    made = _done(work)
    if json:
        machine(made)


def _print_draft(made: Told, expected: Forecast) -> None:
    console.print(f"{made['id']} is a draft; `dtrag rollout start {made['id']}` starts it.")
    print_bases(expected)
    for percent, stage in zip(made["stages"], expected.stages, strict=True):
        console.print(f"at {percent:g} %: {leave_words(stage, expected)}")
    print_warnings(expected)


@told_plainly()
def list_rollouts(
    flag: Annotated[str | None, typer.Option(help="Only of this flag.")] = None,
    json: Json = False,
) -> None:
    """List the newest rollouts."""

    async def work(admin: RolloutAdmin) -> Told:
        return {"rollouts": await admin.every(flag_key=flag)}

    found = _done(work)
    if json:
        machine(found)
        return
    names = ("id", "flag_key", "state", "percent", "stage_idx", "epoch", "hold_reason")
    table(names, [[row[name] for name in names] for row in found["rollouts"]])


@told_plainly()
def status(
    rollout: Id,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw each second.")] = False,
    json: Json = False,
) -> None:
    """Show stages, arms and evidence as a picture."""
    from apps.cli.rollout_picture import picture  # noqa: PLC0415

    if not watch:
        told = _done(lambda admin: _seen(admin, rollout))
        machine(told) if json else console.print(picture(told))
        return

    async def work(admin: RolloutAdmin) -> Told:
        from rich.live import Live  # noqa: PLC0415

        told = await _seen(admin, rollout)
        with Live(picture(told), console=console, auto_refresh=False) as live:
            while told["state"] not in OVER:
                await asyncio.sleep(WATCH_S)
                told = await admin.get(told["id"])
                live.update(picture(told), refresh=True)
        return told

    _done(work)


@told_plainly()
def start(
    rollout: Id,
    force: Annotated[bool, typer.Option("--force", help="Although it cools down.")] = False,
    salt: Annotated[str | None, typer.Option(help="Another one draws other people.")] = None,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Begin at the first stage, with empty counters."""
    _moved(
        rollout,
        lambda admin, found: admin.start(found, cause=cause_of(reason), force=force, salt=salt),
        json=json,
    )


@told_plainly()
def pause(rollout: Id, reason: Reason = "", json: Json = False) -> None:
    """Stop at the present share until somebody resumes."""
    _moved(rollout, lambda admin, found: admin.pause(found, cause=cause_of(reason)), json=json)


@told_plainly()
def resume(rollout: Id, reason: Reason = "", json: Json = False) -> None:
    """Go on; the reason of the hold is overruled for this stage."""
    _moved(rollout, lambda admin, found: admin.resume(found, cause=cause_of(reason)), json=json)


@told_plainly()
def promote(
    rollout: Id,
    to_stage: Annotated[int | None, typer.Option(min=0, help="Index of a stage.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Against the blockers.")] = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Take the next step, or any."""
    _moved(
        rollout,
        lambda admin, found: admin.promote(
            found, cause=cause_of(reason), to_stage=to_stage, force=force
        ),
        json=json,
    )


@told_plainly()
def rollback(
    rollout: Id,
    wait: Annotated[bool, typer.Option("--wait", help="Until all workers know, 2 s.")] = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Take the flag from everybody; it stays so until somebody starts again."""

    async def move(admin: RolloutAdmin, found: str) -> Told:
        told, acked = await admin.roll_back(found, cause=cause_of(reason), wait=wait)
        if acked is None:
            return told
        workers = {"acked": acked.acked, "expected": acked.expected}
        return {**told, **workers, "elapsed_ms": acked.elapsed_ms, "missing": list(acked.missing)}

    _moved(rollout, move, json=json)


@told_plainly()
def trigger(rollout: Id, reason: Reason = "", json: Json = False) -> None:
    """Have the controller roll back at its next look; for alarms and runbooks."""

    async def work(admin: RolloutAdmin) -> Told:
        return await admin.trigger(rollout, cause=cause_of(reason))

    asked = _done(work)
    if json:
        machine(asked)
        return
    console.print(f"{asked['id']} of {asked['flag_key']} is to be rolled back by whoever leads.")


def _moved(
    rollout: str, move: Callable[[RolloutAdmin, str], Awaitable[Told]], *, json: bool
) -> None:
    async def work(admin: RolloutAdmin) -> Told:
        return await move(admin, await _id(admin, rollout))

    told = _done(work)
    if json:
        machine(told)
        return
    console.print(f"{told['id']} of {told['flag_key']} is {told['state']} at {told['percent']:g} %")
    if "acked" in told:
        console.print(
            f"{told['acked']} of {told['expected']} workers switched in {told['elapsed_ms']:.0f} ms"
        )


def _done(work: Callable[[RolloutAdmin], Awaitable[Told]]) -> Told:
    from functools import partial  # noqa: PLC0415

    from apps.core.flags import acks  # noqa: PLC0415 - SQLAlchemy costs a second
    from apps.core.flags.rollouts import RolloutAdmin  # noqa: PLC0415

    async def opened() -> Told:
        clock = SystemClock()
        async with open_storage(load()) as storage:
            waiting = partial(acks.wait_for, storage, clock=clock)
            return await work(RolloutAdmin(storage, clock, waiting=waiting))

    return asyncio.run(opened())


async def _seen(admin: RolloutAdmin, rollout: str) -> Told:
    return await admin.get(await _id(admin, rollout))


async def _id(admin: RolloutAdmin, rollout: str) -> str:
    """A flag's key means its newest rollout."""
    if rollout.startswith("ro_"):
        return rollout
    found = await admin.every(flag_key=rollout)
    return str(found[0]["id"]) if found else rollout


def cause_of(reason: str) -> Cause:
    """A person at this command line, now."""
    from apps.core.storage.flag_audit import Cause  # noqa: PLC0415

    return Cause(f"cli:{getpass.getuser()}", "cli", time.time(), reason)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise Unprocessable(f"--stages is a list such as 5,25,50,100, not {text!r}.") from None


def _object(text: str) -> dict[str, object]:
    try:
        value = json_text.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unprocessable('--policy is a JSON object such as {"auto_promote": false}.')
    return value
