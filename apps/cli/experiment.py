"""`dtrag experiment`: variants of a flag side by side, begun and ended by people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.database import open_storage
from apps.cli.output import console, machine, table, told_plainly
from apps.cli.rollout_moves import Json, Reason, cause_of
from apps.core.errors import Unprocessable
from apps.core.settings import load
from apps.core.wiring import SystemClock

if TYPE_CHECKING:
    from apps.core.flags.experiments import ExperimentAdmin

Told = dict[str, Any]
Id = Annotated[str, typer.Argument(help="The experiment's id.")]
app = typer.Typer(no_args_is_help=True, help="Compare variants of a flag.")


@app.command()
@told_plainly()
def create(
    flag: Annotated[str, typer.Argument(help="The flag's key.")],
    arms: Annotated[str, typer.Option(help="Variants and weights: on=1,off=1.")],
    percent: Annotated[float, typer.Option(help="Of the units that take part.")] = 100.0,
    primary: Annotated[str, typer.Option(help="The metric that decides.")] = "quality",
    guardrail: Annotated[
        list[str] | None, typer.Option(help="A metric that must not get worse; repeat it.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="What keeps its variant: user_id …; repeat it.")
    ] = None,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Make a draft; it changes nothing until it is started."""
    from apps.core.flags.experiments import WantedExperiment  # noqa: PLC0415 - SQLAlchemy

    chosen = {"guardrails": guardrail, "bucket_by": by}
    given = {name: tuple(words) for name, words in chosen.items() if words is not None}
    wanted = WantedExperiment(flag, _weights(arms), percent, primary=primary, **given)
    _print(_done(lambda admin: admin.create(wanted, cause=cause_of(reason))), json=json)


@app.command("list")
@told_plainly()
def list_experiments(json: Json = False) -> None:
    """List the newest experiments."""

    async def work(admin: ExperimentAdmin) -> Told:
        return {"experiments": await admin.every()}

    found = _done(work)
    if json:
        machine(found)
        return
    names = ("id", "flag_key", "state", "arms", "percent")
    table(names, [[row[name] for name in names] for row in found["experiments"]])


@app.command()
@told_plainly()
def start(experiment: Id, reason: Reason = "", json: Json = False) -> None:
    """Begin with empty counters."""
    _print(_done(lambda admin: admin.start(experiment, cause=cause_of(reason))), json=json)


@app.command()
@told_plainly()
def stop(experiment: Id, reason: Reason = "", json: Json = False) -> None:
    """End it; the result stays."""
    _print(_done(lambda admin: admin.stop(experiment, cause=cause_of(reason))), json=json)


@app.command()
@told_plainly()
def show(experiment: Id, json: Json = False) -> None:
    """Print the result so far; it may be looked at at any time."""
    found = _done(lambda admin: admin.get(experiment))
    if json:
        machine(found)
        return
    _print(found, json=False)
    for each in found["conclusions"]:
        harmed = f"; harms {', '.join(each['harmed'])}" if each["harmed"] else ""
        console.print(f"{each['arm']} in {found['primary']}: {each['verdict']}{harmed}")
    rows = [[arm["arm"], arm["weight"], arm["units"]] for arm in found["results"]]
    table(("arm", "weight", "units"), rows)
    compared = [
        [
            f"{each['arm']} against {each['against']}",
            each["metric"],
            f"{each['E_worse']:.3g}",
            f"{each['E_better']:.3g}",
            _interval(each.get("difference") or each["relative_risk"]),
            each["verdict"],
        ]
        for each in found["comparisons"]
    ]
    threshold = f"E of {found['comparisons'][0]['threshold']:g} decides"
    table((threshold, "metric", "E worse", "E better", "interval", "verdict"), compared)


def _interval(found: dict[str, float | None]) -> str:
    high = "∞" if found["high"] is None else f"{found['high']:.3f}"
    return f"{found['low']:.3f} … {high}"


def _print(told: Told, *, json: bool) -> None:
    if json:
        machine(told)
    else:
        console.print(f"{told['id']} of {told['flag_key']} is {told['state']}")


def _done(work: Callable[[ExperimentAdmin], Awaitable[Told]]) -> Told:
    from apps.core.flags.experiments import ExperimentAdmin  # noqa: PLC0415 - SQLAlchemy

    async def opened() -> Told:
        async with open_storage(load()) as storage:
            return await work(ExperimentAdmin(storage, SystemClock()))

    return asyncio.run(opened())


def _weights(text: str) -> dict[str, int]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): int(weight) for name, weight in pairs}
    except ValueError:
        raise Unprocessable(f"--arms is a list such as on=1,off=1, not {text!r}.") from None
