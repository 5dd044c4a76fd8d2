"""How often a cache helped, by region and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from apps.core.telemetry import metrics


class Tally:
    """Hits and misses since the start of this process."""

    def __init__(self) -> None:
        self._hits: Counter[tuple[str, str]] = Counter()
        self._misses: Counter[tuple[str, str]] = Counter()

    def hit(self, region: str, level: str) -> None:
        """Count a value that was there: `local`, `redis`, or `joined` while another made it."""
        self._hits[region, level] += 1
        metrics.cache_hits.of(region, level).inc()

    def miss(self, region: str, reason: str) -> None:
        """Count a value that was not there: `absent`, `expired` or `invalidated`."""
        self._misses[region, reason] += 1
        metrics.cache_misses.of(region, reason).inc()

    def report(self) -> Mapping[str, object]:
        """Counts and rates in all and by region; a rate is None before the first question."""
        names = sorted({region for region, _ in [*self._hits, *self._misses]})
        return {
            "hits": self._hits.total(),
            "misses": self._misses.total(),
            "hit_rate": _rate(self._hits.total(), self._misses.total()),
            "regions": {name: self._region(name) for name in names},
        }

    def _region(self, name: str) -> dict[str, object]:
        hits = {level: n for (region, level), n in self._hits.items() if region == name}
        misses = {reason: n for (region, reason), n in self._misses.items() if region == name}
        rate = _rate(sum(hits.values()), sum(misses.values()))
        return {"hits": hits, "misses": misses, "hit_rate": rate}


def _rate(hits: int, misses: int) -> float | None:
    return hits / (hits + misses) if hits + misses else None
