"""Pure verdicts: how a variant stands against its baseline, and whether the user's goals are met.

A variant is looked at along three axes. Along each it is better, worse, or not different beyond noise:

* answers: the 95 % interval of the accuracy difference lies above or below zero and McNemar's test agrees (p < 0.05).
  Without labels the baseline's answers are the only truth there is: it is worse where fewer than 99 % of the classes
  agree beyond noise, or, where there are no classes, where the outputs' SQNR is under 20 dB.
* latency: the 95 % interval of the speedup lies beyond 1 by more than 2 %, which is what the order of runs, the page
  cache and a neighbour's load do to two runs of one file.
* size: the files differ by more than 1 %, which is what names and metadata account for.

The verdict adds them up: better somewhere and worse nowhere is `better`, worse somewhere and better nowhere is `worse`,
some of both is a `trade-off`, and neither is `no difference`. An axis that was not measured says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slimedge.benchmarks.statistics import wilson
from slimedge.comparison import AccuracyDelta, Agreement, Comparison, Speedup, Variant, Verdict

SIGNIFICANCE = 0.05
SPEED_MARGIN = 0.02
SIZE_MARGIN = 0.01
LEAST_AGREEMENT = 0.99
LEAST_SQNR_DB = 20.0


class Direction(StrEnum):
    """Where a variant lies on one axis."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the axes that it was read from; an axis that was not measured is None."""

    verdict: Verdict
    answers: Direction | None
    latency: Direction | None
    size: Direction | None


def judge(variant: Variant, baseline: Variant) -> Judgement:
    """Judge a variant by what was measured of it; its own `verdict` field is not looked at.

    Args:
        variant: with whichever of `accuracy_delta`, `agreement`, `sqnr_db`, `speedup`, `file_bytes` were measured.
        baseline: the one that those figures are relative to.

    Returns:
        The verdict with its three axes.
    """
    answers = _answers(variant.accuracy_delta, variant.agreement, variant.sqnr_db)
    latency = _latency(variant.speedup)
    size = _size(variant.file_bytes, baseline.file_bytes)
    seen = {answers, latency, size}
    better, worse = Direction.BETTER in seen, Direction.WORSE in seen
    if better and worse:
        verdict = Verdict.TRADE_OFF
    elif better:
        verdict = Verdict.BETTER
    elif worse:
        verdict = Verdict.WORSE
    else:
        verdict = Verdict.NO_DIFFERENCE
    return Judgement(verdict, answers, latency, size)


def _answers(
    delta: AccuracyDelta | None, agreement: Agreement | None, sqnr_db: float | None
) -> Direction | None:
    if delta is not None:
        if delta.p_value >= SIGNIFICANCE:
            return Direction.SAME
        return _beyond(delta.low, delta.high, worse_below=0.0, better_above=0.0)
    if agreement is not None:
        _, high = wilson(round(agreement.value * agreement.n), agreement.n)
        return Direction.WORSE if high < LEAST_AGREEMENT else Direction.SAME
    if sqnr_db is not None:
        return Direction.WORSE if sqnr_db < LEAST_SQNR_DB else Direction.SAME
    return None


def _latency(speedup: Speedup | None) -> Direction | None:
    if speedup is None:
        return None
    return _beyond(
        speedup.low, speedup.high, worse_below=1.0 / (1.0 + SPEED_MARGIN), better_above=1.0 + SPEED_MARGIN
    )


def _size(file_bytes: int | None, baseline_bytes: int | None) -> Direction | None:
    if file_bytes is None or baseline_bytes is None:
        return None
    margin = SIZE_MARGIN * baseline_bytes
    return _beyond(
        -file_bytes, -file_bytes, worse_below=-baseline_bytes - margin, better_above=-baseline_bytes + margin
    )


def _beyond(low: float, high: float, *, worse_below: float, better_above: float) -> Direction:
    if low > better_above:
        return Direction.BETTER
    if high < worse_below:
        return Direction.WORSE
    return Direction.SAME


@dataclass(frozen=True, slots=True)
class Goals:
    """What the user asks of every variant; None is not asked.

    Attributes:
        max_accuracy_drop: percentage points that the accuracy may fall below the baseline's.
        min_speedup: least ratio of the baseline's median latency to the variant's.
    """

    max_accuracy_drop: float | None = None
    min_speedup: float | None = None


@dataclass(frozen=True, slots=True)
class GoalOutcome:
    """One goal for one variant.

    Attributes:
        goal: as given, `--max-accuracy-drop 1`.
        variant: name of the variant.
        met: True only where the unfavourable bound of the 95 % interval meets the goal.
        sentence: with the figure, its interval and the bound that decided.
    """

    goal: str
    variant: str
    met: bool
    sentence: str


def check_goals(comparison: Comparison, goals: Goals) -> tuple[GoalOutcome, ...]:
    """Hold every variant against every goal, by the unfavourable bound of its 95 % interval.

    A figure that meets the goal while its interval does not is a goal that was not shown to be met, and counts as
    missed: the sentence then says that a longer measurement could decide it.

    Args:
        comparison: the variants with their intervals.
        goals: those asked for.

    Returns:
        Outcomes in the order of the variants; empty when nothing was asked.
    """
    outcomes = []
    for variant in comparison.variants:
        if goals.max_accuracy_drop is not None:
            outcomes.append(accuracy_outcome(variant.name, variant.accuracy_delta, goals.max_accuracy_drop))
        if goals.min_speedup is not None:
            outcomes.append(speedup_outcome(variant, goals.min_speedup))
    return tuple(outcomes)


def accuracy_outcome(name: str, delta: AccuracyDelta | None, limit: float) -> GoalOutcome:
    """Hold a difference of accuracy against the points that may be lost, by its lower bound.

    Args:
        name: of the variant.
        delta: None where no accuracy was measured, which misses the goal.
        limit: percentage points.
    """
    goal = f"--max-accuracy-drop {limit:g}"
    if delta is None:
        sentence = f"{name}: missed, since no accuracy was measured; give data with class labels."
        return GoalOutcome(goal, name, met=False, sentence=sentence)
    low, high = 100.0 * delta.low, 100.0 * delta.high
    figure = (
        f"accuracy {_signed(100.0 * delta.value)} points (95 % interval {_signed(low)} to {_signed(high)})"
    )
    sentence = _decide(
        name,
        figure,
        asked=f"at least {_signed(-limit)}",
        bounds=(f"lower bound {_signed(low)}", f"upper bound {_signed(high)}"),
        met=low >= -limit,
        impossible=high < -limit,
        remedy="more evaluation examples",
    )
    return GoalOutcome(goal, name, met=low >= -limit, sentence=sentence)


def speedup_outcome(variant: Variant, limit: float) -> GoalOutcome:
    """Hold a variant's speed against what is asked for, by the lower bound of its speedup.

    Args:
        variant: without a speedup, which misses the goal, where no latency was measured.
        limit: ratio of the baseline's median latency to the variant's.
    """
    goal = f"--min-speedup {limit:g}"
    speedup = variant.speedup
    if speedup is None:
        sentence = f"{variant.name}: missed, since no latency was measured; run it on a target."
        return GoalOutcome(goal, variant.name, met=False, sentence=sentence)
    figure = f"speedup {speedup.value:.2f}× (95 % interval {speedup.low:.2f} to {speedup.high:.2f})"
    sentence = _decide(
        variant.name,
        figure,
        asked=f"at least {limit:g}×",
        bounds=(f"lower bound {speedup.low:.2f}", f"upper bound {speedup.high:.2f}"),
        met=speedup.low >= limit,
        impossible=speedup.high < limit,
        remedy="a longer measurement or a quieter machine",
    )
    return GoalOutcome(goal, variant.name, met=speedup.low >= limit, sentence=sentence)


def _decide(
    name: str, figure: str, *, asked: str, bounds: tuple[str, str], met: bool, impossible: bool, remedy: str
) -> str:
    if met:
        return f"{name}: met, {figure}; even the {bounds[0]} is {asked}."
    if impossible:
        return f"{name}: missed, {figure}; even the {bounds[1]} is not {asked}."
    return f"{name}: not shown, {figure}; the {bounds[0]} is not {asked}, {remedy} could decide it."


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if round(value, 2) else "±0.00"
