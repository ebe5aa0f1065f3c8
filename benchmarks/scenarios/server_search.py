"""The highest rate of arrivals at which a server's 99th percentile stays under a bound.

As the rules have it, each trial is a run at one rate, a binary search finds a candidate, and where the run that
confirms it fails, the rate is lowered a little and tried again. Here the trials are short and all have the same
arrivals but for their scale, so that a higher rate is a harder one; the run that confirms is longer and has other
arrivals.

Reference:
    MLCommons, "MLPerf Inference Rules", "Load Generator".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from slimedge.benchmarks.scenarios.metrics import figures
from slimedge.benchmarks.scenarios.run import Run

_STEP_UP = 1.3
_STEP_DOWN = 2.0
_MOST_TRIALS = 40
_MOST_CONFIRMING = 10
LATE_SHARE = 0.01  # of the queries may be above a 99th percentile
SEARCH_SEED, CONFIRM_SEED = 0, 1


@dataclass(frozen=True, slots=True)
class Trial:
    """A run at one rate.

    Attributes:
        run: with its raw times.
        confirming: whether it is a long one, and not of the search.
        held: whether all arrivals were served with a 99th percentile within the bound.
    """

    run: Run
    confirming: bool
    held: bool

    @property
    def rate_per_s(self) -> float:
        """Mean of the arrivals."""
        assert self.run.rate_per_s is not None, "of a server"  # noqa: S101
        return self.run.rate_per_s


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried, in its order, and what came of it.

    Attributes:
        bound_s: that the 99th percentile has to stay within.
        trials: all of them.
        confirmed: the highest rate that held in a long run; None where none did.
    """

    bound_s: float
    trials: tuple[Trial, ...]
    confirmed: Trial | None

    @property
    def lowest_failed_per_s(self) -> float | None:
        """The lowest rate that was seen to fail; the highest that can be served lies between it and what held."""
        return min((trial.rate_per_s for trial in self.trials if not trial.held), default=None)


# Takes a rate, least seconds and a seed.
Attempt = Callable[[float, float, int], Run]


def search(
    attempt: Attempt,
    *,
    start_per_s: float,
    least_per_s: float,
    bound_s: float,
    trial_s: float,
    confirm_s: float,
    precision: float,
) -> Search:
    """Find the highest rate that holds.

    Args:
        attempt: runs the server at a rate for at least so long, with arrivals of this seed.
        start_per_s: rate to begin with, as some share of what the workers can do at most.
        least_per_s: no rate below it is tried.
        bound_s: of the 99th percentile.
        trial_s: of a trial.
        confirm_s: of the run that confirms.
        precision: how close the lowest that failed must come to the highest that held, as a share.

    Returns:
        All trials and the rate that was confirmed.
    """
    trials: list[Trial] = []

    def held(rate: float, *, confirming: bool) -> bool:
        seconds, seed = (confirm_s, CONFIRM_SEED) if confirming else (trial_s, SEARCH_SEED)
        run = attempt(rate, seconds, seed)
        trials.append(Trial(run, confirming, holds(run, bound_s)))
        return trials[-1].held

    candidate = _candidate(held, start_per_s, least_per_s, precision)
    for _ in range(_MOST_CONFIRMING):
        if candidate is None or candidate < least_per_s:
            break
        if held(candidate, confirming=True):
            return Search(bound_s, tuple(trials), trials[-1])
        candidate /= 1 + precision
    return Search(bound_s, tuple(trials), None)


def holds(run: Run, bound_s: float) -> bool:
    """Tell whether a run served all that came, with a 99th percentile within the bound."""
    p99_s = figures(run).p99_s
    return run.ending == "enough" and p99_s is not None and p99_s <= bound_s


def most_wait_s(bound_s: float, seconds: float) -> float:
    """Give the wait after which a run of a server cannot hold any more.

    Queries are served in their order. So when one has waited for w, all that came since then, but in the last seconds
    of the bound, are late: those of w - bound of the run's seconds. Where that is over 1 % of them, so is their share.

    Args:
        bound_s: of the 99th percentile.
        seconds: of arrivals that the run has.
    """
    return bound_s + LATE_SHARE * seconds


def _candidate(held: Callable[..., bool], start: float, least: float, precision: float) -> float | None:
    """Step up or down until one rate held and one failed, then halve between them on a logarithmic scale."""
    low: float | None = None
    high: float | None = None
    rate = start
    for _ in range(_MOST_TRIALS):
        if held(rate, confirming=False):
            low = rate
        else:
            high = rate
        if low is None:
            rate /= _STEP_DOWN
            if rate < least:
                return None
        elif high is None:
            rate *= _STEP_UP
        elif high <= low * (1 + precision):
            break
        else:
            rate = math.sqrt(low * high)
    return low
