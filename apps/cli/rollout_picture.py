"""A rollout as a picture for a terminal: a bar for each stage, the arms, and E on a log scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Told = Mapping[str, Any]
WIDTH = 32
FULL, EMPTY, MARK = "█", "·", "│"
# A factor of ten below 1 on the left, then as far as the threshold and a little beyond.
LOWEST = 0.1
COLOURS = {
    "RUNNING": "green",
    "HELD": "yellow",
    "ROLLED_BACK": "red",
    "KILLED": "red",
    "COMPLETED": "bold green",
}


def picture(told: Told) -> RenderableType:
    """Everything that an operator looks at."""
    return Group(
        _title(told), _stages(told), _arms(told), _evidence(told), _signs(told), _next(told)
    )


def bar(value: float, threshold: float, *, width: int = WIDTH) -> str:
    """E on a logarithmic scale from 0.1 to ten thresholds, with a mark at the threshold."""
    low, high = math.log(LOWEST), math.log(threshold * 10)
    place = (math.log(max(value, LOWEST)) - low) / (high - low)
    filled = round(width * min(1.0, max(0.0, place)))
    at = round(width * (math.log(threshold) - low) / (high - low))
    cells = FULL * filled + EMPTY * (width - filled)
    return cells[:at] + MARK + cells[at + 1 :]


def _title(told: Told) -> Text:
    reason = f" ({told['hold_reason']})" if told["hold_reason"] else ""
    text = Text(f"{told['flag_key']}  {told['id']}  attempt {told['attempt']}  ")
    text.append(f"{told['state']}{reason}", COLOURS.get(told["state"], ""))
    return text.append(f"  {told['percent']:g} %")


def _stages(told: Told) -> Table:
    made = Table.grid(padding=(0, 1))
    serving = told["state"] in {"RUNNING", "HELD"}
    for index, percent in enumerate(told["stages"]):
        here = serving and index == told["stage_idx"]
        filled = round(WIDTH * percent / 100)
        done = index < told["stage_idx"] or told["state"] == "COMPLETED"
        style = "bold green" if here else "green" if done else "dim"
        made.add_row(
            "▶" if here else " ",
            f"{percent:g} %",
            Text(FULL * filled + EMPTY * (WIDTH - filled), style),
        )
    return made


def _arms(told: Told) -> Table:
    made = Table("metric", "canary", "", "control", "", box=None, header_style="bold")
    arms = [told["arms"][arm] for arm in ("canary", "control")]
    made.add_row("units", str(arms[0]["units"]), "", str(arms[1]["units"]), "")
    for name in arms[0]["metrics"]:
        cells = [cell for arm in arms for cell in _cells(arm["metrics"][name])]
        if any(arm["metrics"][name]["n"] for arm in arms):
            made.add_row(name, *cells)
    return made


def _cells(found: Told) -> tuple[str, str]:
    if "mean" in found:
        return f"{found['n']} scores", "-" if found["mean"] is None else f"{found['mean']:.3f}"
    share = "-" if found["share"] is None else f"{100 * found['share']:.2f} %"
    return f"{found['bad']} of {found['n']}", share


def _evidence(told: Told) -> Table:
    made = Table("evidence", "", "E", "of", box=None, header_style="bold")
    for name, value, threshold in _values(told):
        style = "red" if value >= threshold else "yellow" if value > 1 else "green"
        made.add_row(name, Text(bar(value, threshold), style), f"{value:.3g}", f"{threshold:g}")
    return made


def _values(told: Told) -> Iterator[tuple[str, float, float]]:
    yield "[bold]combined[/bold]", told["combined_E"], told["threshold"]
    for each in told["evidence"]:
        # A signal only holds, and sooner than the others roll back.
        held = told["policy"]["signal_threshold"] if each["role"] == "signal" else None
        if each["E"] is not None:
            yield each["metric"], each["E"], held or told["threshold"]
        elif each.get("log_E_over") is not None:
            yield each["metric"], math.exp(min(each["log_E_over"], 700.0)), told["threshold"]
    yield "uneven split", told["srm_E"], told["srm_threshold"]


def _signs(told: Told) -> Text:
    """What the workers report that needs no counting; nothing on a good day."""
    failing = [each["worker"] for each in told["nodes"] if each["failing"]]
    found = {
        "killed by": told["kills"],
        "rollback asked for": [told["trigger"]] if told["trigger"] else [],
        "node fails in": failing,
        "forbidden by": told["vetoes"],
    }
    lines = [f"{what} {', '.join(whom)}" for what, whom in found.items() if whom]
    return Text("\n".join(lines), "red", end="\n" if lines else "")


def _next(told: Told) -> Text:
    action, missing = told["next_action"], ", ".join(told["blockers"])
    text = Text(f"next: {action['action']} ({action['reason']})")
    return text.append(f"; missing for the next step: {missing}" if missing else "")
