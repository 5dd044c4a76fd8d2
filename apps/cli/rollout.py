"""`dtrag rollout plan` and `simulate`: neither touches the service; `rollout_moves.py` does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.output import console, machine, progress, table, told_plainly
from apps.core.errors import Unprocessable

if TYPE_CHECKING:
    from apps.core.flags.planning import Delay, StagePlan
    from apps.core.flags.policy import Policy

app = typer.Typer(no_args_is_help=True, help="Plan, rehearse and run staged rollouts.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Rate = Annotated[float, typer.Option(help="Bad share of the control, 0 to 1.")]
Share = Annotated[
    float | None, typer.Option(help="One canary share for ever: 0.1, or 10 for 10 %.")
]
Stages = Annotated[str | None, typer.Option(help="Percentages of a ladder: 5,25,50,100.")]
PerSecond = Annotated[float, typer.Option("--per-s", help="Requests a second.")]


@app.command()
@told_plainly()
def plan(  # noqa: PLR0913, PLR0917 - one argument for each option
    p0: Rate = 0.01,
    rr: Annotated[float, typer.Option(help="Relative risk that must be seen.")] = 2.0,
    slow: Annotated[float, typer.Option(help="Slow share of the control, 0 to 1.")] = 0.05,
    quality: Annotated[float, typer.Option(help="Mean score of the control.")] = 0.80,
    drop: Annotated[float, typer.Option(help="Loss of score that must be seen.")] = 0.05,
    share: Share = None,
    stages: Stages = None,
    per_s: PerSecond = 5.0,
    json: Json = False,
) -> None:
    """Say how many requests it takes to see harm, and to leave each stage."""
    from apps.core.flags import planning, scenario, simulate  # noqa: PLC0415 - numpy

    if not (0 <= p0 <= 1 and 0 <= slow <= 1 and rr > 1 and drop > 0 and per_s > 0):
        raise Unprocessable("Rates are 0 to 1; rr is above 1; drop and per-s are above 0.")
    score = scenario.Quality(simulate.QUALITY, mean=quality, drop=drop)
    expected = planning.Expected({"error": p0, "slow": slow}, per_s, quality=score, risk=rr)
    policy = policy_of(share, stages)
    found = planning.plan(policy, expected)
    found = found[:1] if share is not None else found
    if json:
        machine({"stages": [_as_json(s) for s in found], "guardrails": len(policy.members)})
        return
    for stage in found:
        _print_stage(stage, guardrails=len(policy.members))


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


def _print_stage(stage: StagePlan, *, guardrails: int) -> None:
    console.print(f"[bold]canary share {stage.share:.2f}[/bold]")
    rows = [
        [name, *_delay(alone).values(), *_delay(stage.detect[name]).values()]
        for name, alone in stage.alone.items()
    ]
    one, all_ = "if it is watched alone", f"among {guardrails} guardrails"
    table(["requests until harm is seen", f"{one}: half", "90 %", f"{all_}: half", "90 %"], rows)
    asked = "; a person is asked before" if stage.over_cap else ""
    leave = f"after {_finite(stage.leave)} requests, waiting for {stage.waits_for}{asked}"
    console.print(f"a good release goes on {leave}\n" if _finite(stage.leave) else NEVER)


NEVER = "nothing will ever prove a good release harmless here: set `negligible`\n"


@app.command()
@told_plainly()
def simulate(  # noqa: PLR0913, PLR0917 - one argument for each option
    p0: Rate = 0.01,
    rr: Annotated[float, typer.Option(help="Relative risk of the canary.")] = 1.0,
    share: Share = None,
    stages: Stages = None,
    requests: Annotated[
        int, typer.Option(min=1, help="Requests after which a run ends.")
    ] = 200_000,
    reps: Annotated[int, typer.Option(min=1, help="Simulated rollouts.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the random generator.")] = 1,
    units: Annotated[str, typer.Option(help="request, or a number of sticky units.")] = "request",
    guardrails: Annotated[int, typer.Option(help="Watched metrics, 1 to 6.")] = 1,
    drop: Annotated[float, typer.Option(help="Loss of the canary's quality score.")] = 0.0,
    drift: Annotated[float, typer.Option(min=0, max=1, help="Daily swing of the rates.")] = 0.0,
    outage: Annotated[bool, typer.Option("--outage", help="10 min of 15-fold rates.")] = False,
    per_s: PerSecond = 5.0,
    json: Json = False,
) -> None:
    """Run the controller's own rules on made traffic and a virtual clock."""
    from apps.core.flags import simulate as simulation  # noqa: PLC0415 - numpy
    from apps.core.flags.scenario import Weather  # noqa: PLC0415

    made = simulation.guarded(
        policy_of(share, stages), p0=p0, risk=rr, guardrails=guardrails, drop=drop
    )
    weather = Weather(drift=drift, outage_at_s=OUTAGE_AT_S if outage else None)
    look = min(made.look_requests, requests)
    made = replace(made, weather=weather, requests=requests, look_requests=look)
    scenario = replace(made, units=_units(units), per_s=per_s)
    with progress("Looks") as told:
        outcome = simulation.simulate(scenario, reps=reps, seed=seed, told=told)
    report = simulation.report(outcome)
    if json:
        machine({**report, "seed": seed})
        return
    table(["measure", "value"], [[name, value] for name, value in {**report, "seed": seed}.items()])


OUTAGE_AT_S = 900.0


def policy_of(share: float | None, stages: str | None) -> Policy:
    """Read `--share` or `--stages`; without both, the default ladder.

    Raises:
        Unprocessable: both are given, or one cannot be used.
    """
    from apps.core.flags.policy import Policy  # noqa: PLC0415
    from apps.core.flags.simulate import at_share  # noqa: PLC0415

    if share is not None and stages is not None:
        raise Unprocessable("Give --share or --stages, not both.")
    if share is not None:
        return at_share(share if share < 1 else share / 100.0)
    if stages is None:
        return Policy()
    try:
        return Policy(stages=tuple(float(part) for part in stages.split(",")))
    except ValueError:
        raise Unprocessable(f"--stages is a list such as 5,25,50,100, not {stages!r}.") from None


def _units(text: str) -> int | None:
    if text == "request":
        return None
    if not text.isdigit() or int(text) < 1:
        raise Unprocessable(f"--units is `request` or a number of sticky units, not {text!r}.")
    return int(text)
