"""A forecast on both engines: by what was measured, and honest about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.flags import past
from apps.core.flags.forecast import Forecast, Wish, forecast
from apps.core.flags.past import Past
from apps.core.flags.policy import DAY_S, HOUR_S, Policy
from apps.core.storage import answers, rollout_counts
from apps.core.storage.answers import Feedback, StoredAnswer
from apps.core.storage.engine import Storage
from apps.core.storage.rollout_counts import Batch, Cell, Tally
from tests.contracts.rollout_scene import Scene

NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {"mode": "answer", "served_by": "primary", "citations": [1]}


async def answer(storage: Storage, count: int, *, over_s: float, **body: object) -> None:
    """Answers spread evenly over the last seconds."""
    async with storage.session() as s:
        for n in range(count):
            name = f"{len(body)}-{n}"
            at = NOW - over_s + n * over_s / count
            await answers.put(s, StoredAnswer(name, name, None, "?", {**GOOD, **body}, at))


async def read(storage: Storage) -> Past:
    async with storage.reading() as s:
        return await past.read(s, now=NOW)


def expected(found: Past, wish: Wish | None = None) -> Forecast:
    return forecast(Policy(), found, wish)


async def test_nothing_was_measured(storage: Storage) -> None:
    """Requests are told with assumed rates, and no times."""
    found = expected(await read(storage))
    assert (found.per_s, found.past.answers) == (None, 0)
    assert {base.source for base in found.rates.values()} == {"assumed"}
    assert {stage["leave_s"] for stage in found.as_json()["stages"]} == {None}  # type: ignore[index,attr-defined]
    assert any("No traffic measured yet" in each for each in found.warnings)
    assert any("Assumed, not measured: error 0.01" in each for each in found.warnings)


async def test_traffic_is_measured_since_it_began(storage: Storage) -> None:
    """A service of one day is not diluted over seven; answers from the cache meet no flag."""
    await answer(storage, 960, over_s=DAY_S, confidence=0.7)
    found = expected(await read(storage))
    assert found.per_s == pytest.approx(40 / 3600, rel=1e-3)
    first = found.stages[0]
    assert found.seconds(first.leave) == pytest.approx(first.leave * 90, rel=1e-3)
    assert any("at 40 requests an hour" in each and "no_data" in each for each in found.warnings)


async def test_a_cached_half_halves_the_traffic(storage: Storage) -> None:
    """Estimated from the newest answers."""
    await answer(storage, 200, over_s=HOUR_S, confidence=0.7)
    await answer(storage, 200, over_s=HOUR_S, confidence=0.7, served_by="cache")
    assert (await read(storage)).answers == 200


async def test_few_answers_are_told(storage: Storage) -> None:
    """Their quality is not used, and their hour is a whole one."""
    await answer(storage, 30, over_s=10.0, confidence=0.1)
    found = expected(await read(storage))
    assert found.per_s == pytest.approx(30 / HOUR_S)
    assert found.rates["quality"].source == "assumed"
    assert any("Only 30 answers" in each for each in found.warnings)


async def test_quality_and_complaints_come_from_answers(storage: Storage) -> None:
    """As the arms would count them; small talk has no quality."""
    await answer(storage, 120, over_s=HOUR_S, confidence=0.6)
    await answer(storage, 40, over_s=HOUR_S, confidence=1.0, citations=[])
    await answer(storage, 99, over_s=HOUR_S, confidence=0.0, reason="smalltalk", abstained=True)
    async with storage.session() as s:
        for caller, reward in (("a", -1.0), ("b", -1.0), ("c", 1.0)):
            await answers.put_feedback(s, Feedback("1-0", caller, reward, NOW))
    found = (await read(storage)).rates
    assert found["quality"].value == pytest.approx(0.7)
    assert found["quality"].deviation == pytest.approx(0.03**0.5)
    assert found["unsupported"].value == pytest.approx(40.5 / 161)
    assert found["feedback"].value == pytest.approx(1.5 / 260)


async def test_base_rates_come_from_the_control_of_earlier_rollouts(storage: Storage) -> None:
    """Of the last seven days, when it had seen enough; never from a canary."""
    scene = Scene(storage)
    scene.clock.pass_s(NOW - scene.clock.now())
    row = await scene.begin()
    cells = {
        ("error", "control"): Tally(n=999, total=4.0),
        ("error", "canary"): Tally(n=999, total=900.0),
        ("slow", "control"): Tally(n=99, total=99.0),
        ("quality", "control"): Tally(n=400, total=200.0, total_sq=120.0),
        ("h:slow:3", "control"): Tally(n=999),
    }
    batch = {Cell(row.id, 1, 0, name, arm): tally for (name, arm), tally in cells.items()}
    async with storage.session() as s:
        await rollout_counts.merge(s, Batch(batch))
    found = expected(await read(storage))
    assert (found.rates["error"].value, found.rates["error"].of) == (pytest.approx(0.0045), 999)
    assert (found.rates["quality"].value, found.rates["quality"].source) == (0.5, "measured")
    assert found.rates["slow"].source == "assumed"
    async with storage.reading() as s:
        assert "error" not in (await past.read(s, now=NOW + 8 * DAY_S)).rates


async def test_what_is_given_counts_before_what_was_measured(storage: Storage) -> None:
    """And a given traffic is not called measured."""
    await answer(storage, 200, over_s=HOUR_S, confidence=0.7)
    wish = Wish({"error": 0.2, "quality": 0.5}, per_s=3.0)
    found = expected(await read(storage), wish)
    assert (found.per_s, found.rates["error"].value, found.rates["error"].source) == (
        3.0, 0.2, "given",
    )  # fmt: skip
    assert (found.rates["quality"].value, found.rates["quality"].source) == (0.5, "given")


def test_a_score_that_no_bell_fits_is_left_out() -> None:
    """Answers that are all perfect have no spread to lose anything from."""
    found = Past(500, HOUR_S, {"quality": past.Measured(1.0, 500, 0.0)})
    assert "quality" not in expected(found).rates
