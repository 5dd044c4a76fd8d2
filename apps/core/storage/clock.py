"""The database's own clock, for comparing moments that different hosts wrote."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Float, cast, func

from apps.core.storage.connections import Session

UNIX_EPOCH_JULIAN_DAY = 2440587.5
DAY_S = 86400.0


def database_now(s: Session) -> ColumnElement[float]:
    """Seconds since 1970 when the statement runs, exact to a millisecond."""
    if s.dialect.name == "sqlite":
        days: ColumnElement[Any] = func.julianday("now")
        return (days - UNIX_EPOCH_JULIAN_DAY) * DAY_S
    return cast(func.extract("epoch", func.clock_timestamp()), Float)
