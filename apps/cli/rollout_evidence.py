"""`dtrag rollout evidence`: what the controller decided, computed again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.database import open_storage
from apps.cli.output import errors, machine, table, told_plainly
from apps.core.errors import NotFound
from apps.core.settings import load

if TYPE_CHECKING:
    from apps.core.flags.recheck import Rechecked

Id = Annotated[str, typer.Argument(help="The rollout's id, or its flag for the newest one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, with all evidence.")]
WORDS = {True: "equal", False: "WRONG"}


@told_plainly()
def evidence(rollout: Id, json: Json = False) -> None:
    """Compute each decision's evidence again; status 1 when one does not follow."""
    found = asyncio.run(_decisions(rollout))
    if json:
        machine({"decisions": [_told(each) for each in found]})
    else:
        names = ("audit row", "decision", "E", "from its counts", "from the votes")
        table(names, [_line(each) for each in found])
    if not all(each.follows and each.logged for each in found):
        errors.print("[red]The evidence does not follow from what was counted.[/red]")
        raise typer.Exit(1)


async def _decisions(rollout: str) -> list[Rechecked]:
    from apps.core.flags import recheck  # noqa: PLC0415 - SQLAlchemy costs a second
    from apps.core.storage import rollouts  # noqa: PLC0415

    async with open_storage(load()) as storage, storage.reading() as s:
        row = await rollouts.find(s, rollout)
        if row is None:
            newest = await rollouts.listed(s, flag_key=rollout, limit=1)
            row = newest[0] if newest else None
        if row is None:
            raise NotFound(f"There is no rollout {rollout!r}.")
        return await recheck.decisions(s, row)


def _told(each: Rechecked) -> dict[str, object]:
    facts = {"id": each.row.id, "at": each.row.at, "reason": each.row.reason}
    checks = {"follows": each.follows, "logged": each.logged}
    return {**facts, **checks, "evidence": dict(each.row.evidence or {})}


def _line(each: Rechecked) -> list[object]:
    combined = (each.row.evidence or {}).get("combined_E", 0.0)
    checks = [WORDS[each.follows], WORDS[each.logged]]
    return [each.row.id, each.row.reason, f"{combined:.4g}", *checks]
