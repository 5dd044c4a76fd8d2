"""`dtrag rollout plan` and `simulate`: neither touches the service; `rollout_moves.py` does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.output import machine, progress, table, told_plainly
from apps.cli.rollout_plan import Json, Share, Stages, plan
from apps.core.errors import Unprocessable

if TYPE_CHECKING:
    from apps.core.flags.policy import Policy

app = typer.Typer(no_args_is_help=True, help="Plan, rehearse and run staged rollouts.")
Rate = Annotated[float, typer.Option(help="Bad share of the control, 0 to 1.")]
PerSecond = Annotated[float, typer.Option("--per-s", help="Requests a second.")]


app.command()(plan)


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
