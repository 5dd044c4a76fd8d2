"""Made traffic for many rollouts at once: what the workers would have counted in one look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from apps.core.flags.evidence import BoolArray, FloatArray
from apps.core.flags.scenario import Behaviour, Quality

IntArray = NDArray[np.int64]
SKEW = 1.8
"""Standard deviation of the log volume of sticky units: 1 % of them make 30 % of the requests."""
DIFFERENCE_SHAPE = 0.5
"""Gamma shape of the units' lasting differences in error rate: standard deviation 1.4 means."""
DRAW_TABLE = 1 << 16
LONG_AGO = -(1 << 30)


@dataclass(frozen=True, slots=True)
class Batch:
    """One look of `r` rollouts with `k` event metrics and `t` scores.

    Attributes:
        votes1, votes0, bad1: (r, k) bad votes of the arms, and all bad events of the canary.
        n1, n0: (r,) exposures.
        new1, new0: (r,) units first seen in the epoch.
        seen1: (r,) units first seen in the canary of this stage.
        active0: (r,) distinct control units of the last `silence_s`.
        active1, failing1: (r,) distinct canary units of the last `breaker_window_s`, and those for
            which the first metric was bad in it for the first time.
        canary, score, counted: (r, t) scores in their order; t is 0 without a score metric.
    """

    votes1: IntArray
    votes0: IntArray
    bad1: IntArray
    n1: IntArray
    n0: IntArray
    new1: IntArray
    new0: IntArray
    seen1: IntArray
    active0: IntArray
    active1: IntArray
    failing1: IntArray
    canary: BoolArray
    score: FloatArray
    counted: BoolArray


class Traffic(Protocol):
    """Requests of many rollouts, look by look."""

    def draw(self, share: FloatArray, factor: float) -> Batch:
        """Make the next look at canary shares (r,)."""
        ...

    def enter_stage(self, which: BoolArray) -> None:
        """Tell which rollouts (r,) begin a new stage."""
        ...

    def take(self, kept: BoolArray) -> Self:
        """Go on with the kept rollouts only."""
        ...


class Window:
    """Sum of the last looks, for each rollout."""

    def __init__(self, rollouts: int, looks: int) -> None:
        self._kept = np.zeros((looks, rollouts), np.int64)
        self._sum = np.zeros(rollouts, np.int64)
        self._next = 0

    def push(self, values: IntArray) -> IntArray:
        """Add a look, forget the oldest, and return the sums (r,)."""
        self._sum = self._sum + values - self._kept[self._next]
        self._kept[self._next] = values
        self._next = (self._next + 1) % len(self._kept)
        return self._sum

    def take(self, kept: BoolArray) -> None:
        """Go on with the kept rollouts only."""
        self._kept, self._sum = self._kept[:, kept], self._sum[kept]


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: event metrics, perhaps a score; requests of a look, looks of both windows."""

    behaviours: tuple[Behaviour, ...]
    quality: Quality | None
    requests: int
    silence_looks: int
    breaker_looks: int

    def rates(self, factor: float) -> tuple[FloatArray, FloatArray]:
        """Return the chances (k,) of a bad event in canary and control."""
        rate = np.array([each.rate for each in self.behaviours]) * factor
        risk = np.array([each.risk for each in self.behaviours])
        return np.minimum(rate * risk, 1.0), np.minimum(rate, 1.0)


class RequestTraffic:
    """Each request is a unit of its own."""

    def __init__(self, load: Load, rollouts: int, rng: np.random.Generator) -> None:
        self._load, self._rng = load, rng
        self._scores = Scores(load.quality) if load.quality else None
        self._control = Window(rollouts, load.silence_looks)
        self._canary = Window(rollouts, load.breaker_looks)
        self._failing = Window(rollouts, load.breaker_looks)

    def draw(self, share: FloatArray, factor: float) -> Batch:
        """Make the next look at canary shares (r,)."""
        load, rng = self._load, self._rng
        scored = load.requests if load.quality else 0
        canary = rng.random((len(share), scored)) < share[:, None]
        n1 = canary.sum(axis=1) if load.quality else rng.binomial(load.requests, share)
        n0 = load.requests - n1
        worse, usual = load.rates(factor)
        bad1 = rng.binomial(n1[:, None], worse)
        bad0 = rng.binomial(n0[:, None], usual)
        score = drawn(self._scores, rng, canary)
        active = self._control.push(n0), self._canary.push(n1)
        failing = self._failing.push(bad1[:, :1].sum(axis=1))
        return Batch(
            bad1, bad0, bad1, n1, n0, n1, n0, n1, *active, failing, canary, score, canary | True
        )  # fmt: skip

    def enter_stage(self, which: BoolArray) -> None:
        """Nothing is remembered of a unit."""

    def take(self, kept: BoolArray) -> Self:
        """Go on with the kept rollouts only."""
        for window in (self._control, self._canary, self._failing):
            window.take(kept)
        return self


class UnitTraffic:
    """Sticky units of very different volume, some of which always fail more than others."""

    def __init__(self, load: Load, rollouts: int, units: int, rng: np.random.Generator) -> None:
        self._load, self._rng = load, rng
        self._scores = Scores(load.quality) if load.quality else None
        volume = rng.lognormal(0.0, SKEW, units)
        volume /= volume.sum()
        self._drawn = rng.choice(units, DRAW_TABLE, p=volume)
        often = rng.gamma(DIFFERENCE_SHAPE, 1 / DIFFERENCE_SHAPE, units)
        self._often = often / (often * volume).sum()
        self._bucket = rng.random((rollouts, units), np.float32)
        self._seen = np.zeros((rollouts, units), bool)
        self._seen_canary = np.zeros((rollouts, units), bool)
        # The look in which a unit was last seen, seen in the canary, and first bad in it.
        self._at = np.full((3, rollouts, units), LONG_AGO, np.int32)
        self._voted = np.zeros((len(load.behaviours), rollouts, units), bool)
        self._look = 0

    def draw(self, share: FloatArray, factor: float) -> Batch:
        """Make the next look at canary shares (r,)."""
        load, rng, r = self._load, self._rng, len(share)
        self._look += 1
        unit = self._drawn[rng.integers(0, DRAW_TABLE, (r, load.requests))]
        row = np.arange(r)[:, None]
        canary = self._bucket[row, unit] < share[:, None]
        n1 = canary.sum(axis=1)
        first = self._first_seen(row, unit)
        self._at[0, row, unit] = self._look
        rows, places = np.nonzero(canary)
        self._at[1, rows, unit[rows, places]] = self._look
        new1 = (first & canary).sum(axis=1)
        seen1 = np.bincount(_mark(self._seen_canary, row, unit, canary)[0], minlength=r)
        votes1, votes0, bad1 = self._bad(unit, canary, factor)
        scored = load.requests if load.quality else 0
        arms = canary[:, :scored]
        return Batch(
            votes1, votes0, bad1, n1, load.requests - n1, new1, first.sum(axis=1) - new1, seen1,
            *self._lately(share), arms, drawn(self._scores, rng, arms),
            first[:, :scored],
        )  # fmt: skip

    def _first_seen(self, row: IntArray, unit: IntArray) -> BoolArray:
        first = np.zeros(unit.shape, bool)
        rows, places = _mark(self._seen, row, unit, None)
        first[rows, places] = True
        return first

    def _bad(
        self, unit: IntArray, canary: BoolArray, factor: float
    ) -> tuple[IntArray, IntArray, IntArray]:
        worse, usual = self._load.rates(factor)
        r, row = len(unit), np.arange(len(unit))[:, None]
        counts = np.zeros((3, r, len(usual)), np.int64)
        for k, voted in enumerate(self._voted):
            chance = np.where(canary, worse[k], usual[k]) * self._often[unit]
            bad = self._rng.random(unit.shape) < chance
            rows, places = _mark(voted, row, unit, bad)
            by_canary = canary[rows, places]
            counts[0, :, k] = np.bincount(rows[by_canary], minlength=r)
            counts[1, :, k] = np.bincount(rows[~by_canary], minlength=r)
            counts[2, :, k] = (bad & canary).sum(axis=1)
            if k == 0:
                # As the controller: who was bad for the first time, not who is so again.
                rows, places = rows[by_canary], places[by_canary]
                self._at[2, rows, unit[rows, places]] = self._look
        return counts[0], counts[1], counts[2]

    def _lately(self, share: FloatArray) -> tuple[IntArray, IntArray, IntArray]:
        """Count the control units of the silence window, and the canary's of the breaker's."""
        load, control = self._load, self._bucket >= share[:, None]
        heard = (self._at[0] > self._look - load.silence_looks) & control
        canary, failing = self._at[1:] > self._look - load.breaker_looks
        return heard.sum(axis=1), canary.sum(axis=1), failing.sum(axis=1)

    def enter_stage(self, which: BoolArray) -> None:
        """Count the canary's units of a new stage from none."""
        self._seen_canary[which] = False

    def take(self, kept: BoolArray) -> Self:
        """Go on with the kept rollouts only."""
        self._bucket, self._seen = self._bucket[kept], self._seen[kept]
        self._seen_canary, self._at = self._seen_canary[kept], self._at[:, kept]
        self._voted = self._voted[:, kept]
        return self


def _mark(
    marks: BoolArray, row: IntArray, unit: IntArray, which: BoolArray | None
) -> tuple[IntArray, IntArray]:
    """Mark the chosen units; return row and place of each that was not marked before, once."""
    fresh = ~marks[row, unit]
    rows, places = np.nonzero(fresh if which is None else fresh & which)
    units = unit[rows, places]
    _, kept = np.unique(rows * marks.shape[1] + units, return_index=True)
    marks[rows, units] = True
    return rows[kept], places[kept]


class Scores:
    """Scores of both arms, drawn from tables of equally likely values."""

    def __init__(self, quality: Quality) -> None:
        y = (np.arange(DRAW_TABLE) + 0.5) / DRAW_TABLE
        self._tables = np.stack(
            [
                _equally_likely(y, density(y))
                for density in (quality.control_density, quality.canary_density)
            ]
        )

    def draw(self, rng: np.random.Generator, canary: BoolArray) -> FloatArray:
        """Draw one score for each entry."""
        return self._tables[canary.astype(np.intp), rng.integers(0, DRAW_TABLE, canary.shape)]


def drawn(scores: Scores | None, rng: np.random.Generator, canary: BoolArray) -> FloatArray:
    """Draw the scores of a look; without a score metric there are none, and `canary` is empty."""
    return np.zeros(canary.shape) if scores is None else scores.draw(rng, canary)


def _equally_likely(y: FloatArray, density: FloatArray) -> FloatArray:
    cumulated = np.cumsum(density) - density / 2
    return np.interp(y, cumulated / density.sum(), y)
