"""`dtrag rollout plan` and `simulate`."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Typed, body

QUICK = ("--reps", "50", "--requests", "5000", "--seed", "3", "--json")


def test_simulate_prints_the_promised_keys(dtrag: Typed) -> None:
    """A canary with fifty times the errors is rolled back within 300 requests."""
    found = body(dtrag("rollout", "simulate", "--p0", ".01", "--rr", "50", "--share", ".1", *QUICK))
    assert found["rolled_back_share"] == 1.0
    assert found["reached_full_share"] == 0.0
    assert found["detection_requests"]["p50"] <= 300


def test_simulate_says_null_when_it_never_happened(dtrag: Typed) -> None:
    """Nobody is rolled back, so there is no median; sticky units and weather are accepted."""
    more = ("--stages", "10,50,100", "--units", "300", "--drift", ".5", "--outage")
    found = body(dtrag("rollout", "simulate", "--rr", "1", *more, *QUICK))
    assert found["detection_requests"] == {"p50": None, "p90": None}


def test_simulate_takes_a_percentage(dtrag: Typed) -> None:
    """10 and 0.1 are the same share."""
    runs = [
        body(dtrag("rollout", "simulate", "--rr", "9", "--share", s, *QUICK)) for s in ("10", ".1")
    ]
    assert runs[0] == runs[1]


def test_simulate_says_why_runs_ended(dtrag: Typed) -> None:
    """A service where everything fails is broken off without statistics; a silent one is held."""
    broken = body(dtrag("rollout", "simulate", "--p0", "1", "--share", ".5", *QUICK))
    assert broken["rolled_back_by"] == {"breaker": 1.0}
    silent = body(dtrag("rollout", "simulate", "--per-s", ".05", *QUICK))
    assert silent["held_by"] == {"no_data": 1.0}


@pytest.mark.parametrize(
    "words",
    [
        ("--p0", "0"),
        ("--requests", "7"),
        ("--reps", "1"),
        ("--stages", "100"),
        ("--stages", "10,50,100"),
        ("--stages", ",".join(str(n) for n in range(1, 96)) + ",100"),
        ("--share", "95"),
        ("--units", "1"),
    ],
)
def test_simulate_takes_odd_wishes(dtrag: Typed, words: tuple[str, ...]) -> None:
    """Nobody harmless is rolled back in them, and each ends with figures."""
    found = body(dtrag("rollout", "simulate", *QUICK, *words))
    assert found["rolled_back_share"] <= 0.02
    assert found["runs"] == (1 if "--reps" in words else 50)


def test_simulate_prints_a_table_for_people(dtrag: Typed) -> None:
    """Without --json the same figures stand in rows."""
    done = dtrag("rollout", "simulate", "--rr", "50", *QUICK[:-1])
    assert done.returncode == 0
    assert "rolled_back_share" in done.stdout


def test_plan_names_requests_for_each_stage(dtrag: Typed) -> None:
    """At 10 % a doubled error share of 1 % is seen after about 14,000 requests."""
    one = body(dtrag("rollout", "plan", "--share", ".1", "--json"))
    assert 13_000 <= one["stages"][0]["detect_requests"]["error"]["p50"] <= 16_000
    ladder = body(dtrag("rollout", "plan", "--stages", "5,25,50,100", "--json"))
    assert [stage["share"] for stage in ladder["stages"]] == [0.05, 0.25, 0.5, 0.95]


@pytest.mark.parametrize("p0", ["0.01", "0"])
def test_plan_prints_sentences_for_people(dtrag: Typed, p0: str) -> None:
    """One block for each stage; without traffic no time, and what was assumed is said."""
    done = dtrag("rollout", "plan", "--p0", p0)
    assert done.returncode == 0
    assert done.stdout.count("a good release goes on after") == 4
    assert "No traffic measured yet" in done.stdout
    assert "requests a second" not in done.stdout
    assert f"error: {float(p0):g}, given" in done.stdout
    assert "slow: 0.05, assumed" in done.stdout


def test_plan_tells_times_of_a_traffic_that_it_is_told(dtrag: Typed) -> None:
    """Forty requests an hour are days, and too silent for the controller."""
    done = dtrag("rollout", "plan", "--per-s", str(40 / 3600))
    assert "days at 40 requests an hour" in done.stdout
    assert "no_data" in done.stdout
    told = body(dtrag("rollout", "plan", "--per-s", "5", "--json"))
    assert told["per_s"] == 5.0
    assert told["stages"][0]["leave_s"] == -(-told["stages"][0]["leave_requests"] // 5)
    assert {base["source"] for base in told["rates"].values()} == {"assumed"}


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "--share", ".1", "--stages", "5,100"),
        ("simulate", "--stages", "a"),
        ("simulate", "--stages", "50,5,100"),
        ("simulate", "--share", "0"),
        ("simulate", "--share", "99"),
        ("simulate", "--share", "100"),
        ("simulate", "--units", "many"),
        ("simulate", "--p0", "2"),
        ("simulate", "--per-s", "0"),
        ("simulate", "--per-s", "nan"),
        ("simulate", "--rr", "inf", "--p0", "0"),
        ("simulate", "--rr", "nan"),
        ("simulate", "--units", "0"),
        ("simulate", "--units", "2000000"),
        ("simulate", "--stages", "5,25"),
        ("simulate", "--stages", ""),
        ("plan", "--rr", "1"),
        ("plan", "--rr", "inf"),
        ("plan", "--per-s", "nan"),
        ("plan", "--per-s", "0"),
        ("plan", "--drop", "0.9"),
    ],
)
def test_impossible_wishes_are_refused_in_one_sentence(
    dtrag: Typed, words: tuple[str, ...]
) -> None:
    """Exit code 1 and no traceback."""
    done = dtrag("rollout", *words)
    assert done.returncode == 1
    assert done.stderr.startswith("dtrag:")
    assert "Traceback" not in done.stderr
