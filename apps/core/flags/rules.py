"""The rows of the controller's table in their order; the first that applies decides.

One implementation judges one rollout or thousands at once: the fields of a `Reading` are numbers
or arrays of one shape, and the simulation passes arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apps.core.flags.policy import Policy


class Row(IntEnum):
    """Which row applies, most urgent first."""

    KILLED = 1
    TRIGGERED = 2
    UNHEALTHY = 3
    VETOED = 4
    CRASH_LOOP = 5
    BREAKER = 6
    SRM = 7
    NO_DATA = 8
    HARM = 9
    SIGNAL = 10
    READY = 11
    INCONCLUSIVE = 12
    STAY = 13


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rows look at; all logarithms are natural.

    Attributes:
        serving: RUNNING or HELD.
        climbing: RUNNING and not forced: every row may act.
        testing: the relative test may roll back: climbing, or held by the controller.
        last: the last stage.
        log_harm: log Ē of all members.
        log_srm: log evidence against the shares, 0 if a person has waived it.
        log_signal: largest log E of a signal that is not waived.
        log_safe: smallest log E⁻ of the compared metrics.
        log_capped: smallest log evidence that a limit holds.
        log_doubt: largest log E of a score.
        canary_requests, canary_bad, canary_units, canary_bad_units: as in `Recent`.
        fatal: a fatal event happened.
        units: canary units seen in the stage.
        age_s: time in the stage.
        patience_s, patience_requests: time and exposures since a person last looked.
        silent_s: time since the quieter arm was seen.
        control_units: distinct control units within `silence_s`.
        waived_patience: a person wants to wait longer.
    """

    serving: ArrayLike
    climbing: ArrayLike
    testing: ArrayLike
    last: ArrayLike
    log_harm: ArrayLike
    log_srm: ArrayLike
    log_signal: ArrayLike
    log_safe: ArrayLike
    log_capped: ArrayLike
    log_doubt: ArrayLike
    canary_requests: ArrayLike
    canary_bad: ArrayLike
    canary_units: ArrayLike
    canary_bad_units: ArrayLike
    units: ArrayLike
    age_s: ArrayLike
    patience_s: ArrayLike
    patience_requests: ArrayLike
    silent_s: ArrayLike
    control_units: ArrayLike
    fatal: ArrayLike = False
    killed: ArrayLike = False
    triggered: ArrayLike = False
    unhealthy: ArrayLike = False
    vetoed: ArrayLike = False
    crash_loop: ArrayLike = False
    waived_patience: ArrayLike = False


def judge(reading: Reading, policy: Policy) -> NDArray[np.int64]:
    """Return the `Row` that applies, for each rollout of the reading."""
    serving, climbing = np.asarray(reading.serving, bool), np.asarray(reading.climbing, bool)
    testing = np.asarray(reading.testing, bool)
    skewed = np.asarray(reading.log_srm) >= math.log(policy.srm_threshold)
    conditions = {
        Row.KILLED: serving & np.asarray(reading.killed),
        Row.TRIGGERED: serving & np.asarray(reading.triggered),
        Row.UNHEALTHY: serving & np.asarray(reading.unhealthy),
        Row.VETOED: serving & np.asarray(reading.vetoed),
        Row.CRASH_LOOP: serving & np.asarray(reading.crash_loop),
        Row.BREAKER: serving & (broken(reading, policy) | np.asarray(reading.fatal)),
        Row.SRM: climbing & skewed,
        Row.NO_DATA: climbing & silent(reading, policy),
        # A share that cannot be trusted suspends the comparison, also while HELD.
        Row.HARM: testing & ~skewed & (np.asarray(reading.log_harm) >= -math.log(policy.alpha)),
        Row.SIGNAL: climbing
        & (np.asarray(reading.log_signal) >= math.log(policy.signal_threshold)),
        Row.READY: climbing & ready(reading, policy),
        Row.INCONCLUSIVE: climbing & overdue(reading, policy),
    }
    rows = [np.asarray(value, bool) for value in np.broadcast_arrays(*conditions.values())]
    return np.select(rows, [int(row) for row in conditions], int(Row.STAY))


def broken(reading: Reading, policy: Policy) -> NDArray[np.bool_]:
    """Whether too many of the latest canary requests were bad, whatever the control did.

    The same share of the units must be bad, and some of them, or one busy customer whose requests
    always fail would roll every canary back that it falls into.
    """
    n, bad = np.asarray(reading.canary_requests), np.asarray(reading.canary_bad)
    units, bad_units = np.asarray(reading.canary_units), np.asarray(reading.canary_bad_units)
    often, share = n >= policy.breaker_requests, policy.breaker_share
    several = (bad_units >= share * units) & (bad_units >= policy.breaker_units)
    return np.asarray(often & (bad >= share * n) & several)


def silent(reading: Reading, policy: Policy) -> NDArray[np.bool_]:
    """Whether an arm says nothing, or the control too little to compare with."""
    few = np.asarray(reading.control_units) < policy.min_control_units
    nothing = np.asarray(reading.silent_s) >= policy.silence_s
    return np.asarray(nothing | (few & (np.asarray(reading.patience_s) >= policy.silence_s)))


def overdue(reading: Reading, policy: Policy) -> NDArray[np.bool_]:
    """Whether a person should be asked, because the data do not decide."""
    long = np.asarray(reading.patience_s) >= policy.max_stage_s
    much = np.asarray(reading.patience_requests) >= policy.max_stage_requests
    # A busy service spends the requests of a stage long before its soak ends; that is no reason.
    waited = np.asarray(reading.age_s) >= stay_s(reading, policy)
    return np.asarray((long | much) & waited & ~np.asarray(reading.waived_patience, bool))


def stay_s(reading: Reading, policy: Policy) -> NDArray[np.float64]:
    """Shortest stay in the stage."""
    return np.where(np.asarray(reading.last, bool), policy.soak_s, policy.dwell_s)


def ready(reading: Reading, policy: Policy) -> NDArray[np.bool_]:
    """Whether nothing blocks the next step."""
    return np.asarray(~np.any(np.stack(list(blockers(reading, policy).values())), axis=0))


def blockers(reading: Reading, policy: Policy) -> dict[str, NDArray[np.bool_]]:
    """Return what is still missing for the next step; True blocks."""
    proof = -math.log(policy.alpha_promote)
    found = {
        "not_proven_harmless": np.asarray(reading.log_safe) < proof,
        "limit_not_proven": np.asarray(reading.log_capped) < proof,
        "score_in_doubt": np.asarray(reading.log_doubt) >= proof,
        "few_units": np.asarray(reading.units) < policy.min_units,
        "dwell": np.asarray(reading.age_s) < stay_s(reading, policy),
    }
    return dict(zip(found, np.broadcast_arrays(*found.values()), strict=True))
