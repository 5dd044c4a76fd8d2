"""`dtrag rollout plan`: what a rollout will take, by measured traffic where there is any."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.output import console, machine, table, told_plainly
from apps.core.errors import DtRagError, Unprocessable
from apps.core.settings import Settings, load

if TYPE_CHECKING:
    from apps.core.flags.forecast import Forecast
    from apps.core.flags.past import Past
    from apps.core.flags.planning import Delay, StagePlan

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Share = Annotated[
    float | None, typer.Option(help="One canary share for ever: 0.1, or 10 for 10 %.")
]
Stages = Annotated[str | None, typer.Option(help="Percentages of a ladder: 5,25,50,100.")]
NEVER = "nothing will ever prove a good release harmless here: set `negligible`"
SQLITE = "sqlite+aiosqlite:///"


@told_plainly()
def plan(  # noqa: PLR0913, PLR0917 - one argument for each option
    p0: Annotated[float | None, typer.Option(help="Error share; else as measured.")] = None,
    rr: Annotated[float, typer.Option(help="Relative risk that must be seen.")] = 2.0,
    slow: Annotated[float | None, typer.Option(help="Slow share; else as measured.")] = None,
    quality: Annotated[float | None, typer.Option(help="Mean score; else as measured.")] = None,
    drop: Annotated[float, typer.Option(help="Loss of score that must be seen.")] = 0.05,
    share: Share = None,
    stages: Stages = None,
    per_s: Annotated[
        float | None, typer.Option("--per-s", help="Requests a second; else as measured.")
    ] = None,
    json: Json = False,
) -> None:
    """Say how many requests it takes to see harm, and to leave each stage."""
    from apps.cli.rollout import policy_of  # noqa: PLC0415 - it imports this module
    from apps.core.flags.forecast import Wish, forecast  # noqa: PLC0415 - numpy

    said = {"error": p0, "slow": slow, "quality": quality}
    rates = {name: value for name, value in said.items() if value is not None}
    finite = rr < math.inf and (per_s is None or 0 < per_s < math.inf)
    if not (all(0 <= each <= 1 for each in rates.values()) and rr > 1 and drop > 0 and finite):
        raise Unprocessable("Rates are 0 to 1; rr is above 1; drop and per-s are above 0.")
    policy = policy_of(share, stages)
    found = forecast(policy, asyncio.run(lately(load())), Wish(rates, per_s, rr, drop))
    shown = found.stages[:1] if share is not None else found.stages
    if json:
        told = [{**_as_json(stage), "leave_s": found.seconds(stage.leave)} for stage in shown]
        more = {**found.as_json(), "stages": told, "warnings": list(found.warnings)}
        machine({**more, "guardrails": len(policy.members)})
        return
    print_bases(found)
    for stage in shown:
        _print_stage(stage, found, guardrails=len(policy.members))
    print_warnings(found)


async def lately(settings: Settings) -> Past:
    """What the database has measured; nothing when there is none, or it cannot be asked."""
    from apps.core.flags import past  # noqa: PLC0415 - SQLAlchemy costs a second
    from apps.core.storage.engine import Storage  # noqa: PLC0415

    try:
        if not await asyncio.to_thread(_readable, settings.database_url):
            return past.Past()
        storage = await Storage.open(settings)
    except (DtRagError, OSError):
        return past.Past()
    try:
        async with storage.reading() as s:
            return await past.read(s, now=time.time())
    except DtRagError:
        return past.Past()
    finally:
        await storage.close()


def _readable(url: str) -> bool:
    """Whether there is a database of this program's; none is made by asking."""
    from apps.core.storage import migrate  # noqa: PLC0415

    if url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists():
        return False
    return migrate.is_current(url)


def print_bases(found: Forecast) -> None:
    """Traffic and base rates, and where each is from."""
    from apps.core.flags.spans import rate_words, span_words  # noqa: PLC0415

    if found.per_s is not None:
        measured = found.per_s == found.past.per_s
        told = f"measured over {span_words(found.past.over_s)}" if measured else "given"
        console.print(f"traffic: {rate_words(found.per_s)}, {told}")
    for name, base in found.rates.items():
        of = f" of {base.of:,}" if base.of is not None else ""
        console.print(f"{name}: {base.value:.3g}, {base.source}{of}")
    console.print()


def leave_words(stage: StagePlan, found: Forecast) -> str:
    """When a good release goes on."""
    from apps.core.flags.spans import rate_words, span_words  # noqa: PLC0415

    requests, seconds = _finite(stage.leave), found.seconds(stage.leave)
    if requests is None:
        return NEVER
    asked = "; a person is asked before" if stage.over_cap else ""
    words = f"a good release goes on after {requests} requests, waiting for {stage.waits_for}"
    if seconds is None or found.per_s is None:
        stay = span_words(found.stays_s[found.stages.index(stage)])
        return f"{words}, and not before {stay}{asked}"
    return f"{words}: about {span_words(seconds)} at {rate_words(found.per_s)}{asked}"


def print_warnings(found: Forecast) -> None:
    """What a person should know before."""
    for warning in found.warnings:
        console.print(f"[yellow]{warning}[/yellow]")


def _as_json(stage: StagePlan) -> dict[str, object]:
    return {
        "share": stage.share,
        "detect_requests": {name: _delay(delay) for name, delay in stage.alone.items()},
        "detect_requests_shared": {name: _delay(delay) for name, delay in stage.detect.items()},
        "leave_requests": _finite(stage.leave),
        "waits_for": stage.waits_for,
        "over_cap": stage.over_cap,
    }


def _delay(delay: Delay) -> dict[str, int | None]:
    return {"p50": _finite(delay.p50), "p90": _finite(delay.p90)}


def _finite(value: float) -> int | None:
    return math.ceil(value) if math.isfinite(value) else None


def _print_stage(stage: StagePlan, found: Forecast, *, guardrails: int) -> None:
    console.print(f"[bold]canary share {stage.share:.2f}[/bold]")
    rows = [
        [name, *_delay(alone).values(), *_delay(stage.detect[name]).values()]
        for name, alone in stage.alone.items()
    ]
    one, all_ = "if it is watched alone", f"among {guardrails} guardrails"
    table(["requests until harm is seen", f"{one}: half", "90 %", f"{all_}: half", "90 %"], rows)
    console.print(f"{leave_words(stage, found)}\n")
