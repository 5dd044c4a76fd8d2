"""Durations and rates in the words of people."""

from __future__ import annotations

from apps.core.flags.policy import DAY_S, HOUR_S, MINUTE_S

UNITS = (("day", DAY_S), ("hour", HOUR_S), ("minute", MINUTE_S), ("second", 1.0))
# From so many of a larger unit on, it is told in that.
SOON = 2.0


def span_words(seconds: float) -> str:
    """`17 days`, `36 hours`, `10 minutes`."""
    name, unit = next((each for each in UNITS if seconds >= SOON * each[1]), UNITS[-1])
    count = round(seconds / unit)
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def rate_words(per_s: float) -> str:
    """`5 requests a second`, `40 requests an hour`."""
    name, unit = next((each for each in reversed(UNITS) if per_s * each[1] >= 1), UNITS[0])
    return f"{per_s * unit:.3g} requests {'an' if name == 'hour' else 'a'} {name}"
