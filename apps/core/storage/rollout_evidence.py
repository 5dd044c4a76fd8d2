"""The evidence for and against a rollout, as of the last look at its votes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import RowMapping, select

from apps.core.storage.connections import Session, insert
from apps.core.storage.flag_tables import flag_evidence


@dataclass(frozen=True, slots=True)
class Evidence:
    """The logarithms of the e-values of one metric after a look, one number a mixture point.

    Fields:
        log_e_minus: of the test for promotion; None for a score, which has none.
        fold: how far scores are applied, in the words of whoever computes it.
        look: grows with each; an older one never replaces a newer one.
    """

    rollout_id: str
    epoch: int
    metric: str
    log_e: tuple[float, ...]
    log_e_minus: tuple[float, ...] | None
    look: int
    at: float
    fold: Mapping[str, Any] | None = None


async def put(s: Session, found: Evidence) -> bool:
    """Keep the evidence of a look; False when a later look is kept already."""
    row = {
        **{field.name: getattr(found, field.name) for field in fields(Evidence)},
        "log_e": list(found.log_e),
        "log_e_minus": None if found.log_e_minus is None else list(found.log_e_minus),
        "fold": None if found.fold is None else dict(found.fold),
    }
    statement = insert(s, flag_evidence).values(row)
    identity = ("rollout_id", "epoch", "metric")
    newer = {name: statement.excluded[name] for name in row if name not in identity}
    kept = await s.execute(
        statement.on_conflict_do_update(
            index_elements=identity,
            set_=newer,
            where=statement.excluded.look > flag_evidence.c.look,
        ).returning(flag_evidence.c.look)
    )
    return kept.first() is not None


async def latest(s: Session, rollout_id: str, epoch: int) -> dict[str, Evidence]:
    """The latest evidence of an attempt, by metric."""
    query = select(flag_evidence).where(
        flag_evidence.c.rollout_id == rollout_id, flag_evidence.c.epoch == epoch
    )
    return {row["metric"]: _evidence(row) for row in (await s.execute(query)).mappings()}


def _evidence(row: RowMapping) -> Evidence:
    values = {field.name: row[field.name] for field in fields(Evidence)}
    minus = values["log_e_minus"]
    values["log_e_minus"] = None if minus is None else tuple(minus)
    return Evidence(**{**values, "log_e": tuple(values["log_e"])})
